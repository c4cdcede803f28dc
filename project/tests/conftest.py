"""What every test has: the event loop that serves, the examples of hypothesis, the fixtures."""

import gc
import os
import signal
from collections.abc import Iterator

import hypothesis
import pytest
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants

pytest.register_assert_rewrite("tests.support")

pytest_plugins = [
    "tests.support.clients",
    "tests.support.databases",
    "tests.support.fixtures",
    "tests.support.leaks",
    "tests.support.offers",
    "tests.support.patience",
    "tests.support.pgbouncer",
    "tests.support.related",
    "tests.support.resources",
    "tests.support.revisions",
    "tests.support.samples",
    "tests.support.settings",
    "tests.support.ways",
    "tests.support.wheels",
]

# What a shell starts in the background ignores Ctrl-C, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup, likewise

# The examples of a test share its fixtures, and lay out their own rows; a machine may be busy. They
# are the same each time: `--hypothesis-profile=search` looks for others.
hypothesis.settings.register_profile(
    "songbook",
    deadline=None,
    derandomize=True,
    suppress_health_check=[
        hypothesis.HealthCheck.function_scoped_fixture,
        hypothesis.HealthCheck.too_slow,
    ],
)
hypothesis.settings.register_profile(
    "search", hypothesis.settings.get_profile("songbook"), derandomize=False
)
hypothesis.settings.load_profile("songbook")


UNMEASURED = (
    "tests/project/",
    "tests/service/contract/",
    "tests/service/test_clients.py",
    "tests/service/test_console.py",
    "tests/service/test_docs_page.py",
    "tests/service/test_other_programs.py",
    "tests/songbook/console/test_browser.py",
)
"""Tests of copies, and of what others reach, too: measured they take twice as long."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Do not measure the coverage of some tests."""
    for item in items:
        if any(folder in item.nodeid for folder in UNMEASURED):
            item.add_marker("no_cover")


def pytest_collection_finish() -> None:
    """Leave the modules and the tests out of the garbage collections that are to come.

    Examples take no constants from modules either: which are imported depends on the tests before.
    """
    if hypothesis.settings().derandomize:
        providers._get_local_constants = Constants  # noqa: SLF001
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _event_loop_of_fixtures(anyio_backend: tuple[str, dict[str, bool]]) -> None:
    """Let the fixtures of a test that is no coroutine be coroutines, too.

    anyio awaits only those of tests that have its own fixture. Others would fail if they are the
    first of their process, and with them all that share the fixture.
    """


@pytest.fixture(autouse=True)
def _unmeasured_processes(request: pytest.FixtureRequest) -> Iterator[None]:
    """Do not measure the processes that such a test starts, either."""
    with pytest.MonkeyPatch.context() as patch:
        if request.node.get_closest_marker("no_cover"):
            patch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
        yield


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Run the tests on the event loop that serves."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="session", autouse=True)
def _temporary_root_of_other_pytests(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the pytest that a test starts from closing this one's folders to other users.

    PostgreSQL, which does not run as root, has its data there.
    """
    os.environ["PYTEST_DEBUG_TEMPROOT"] = str(tmp_path_factory.mktemp("temporary_root"))
