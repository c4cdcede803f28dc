"""What every test has: the event loop that serves, the examples of hypothesis, the fixtures."""

import signal

import hypothesis
import pytest

pytest.register_assert_rewrite("tests.support")

pytest_plugins = [
    "tests.support.clients",
    "tests.support.databases",
    "tests.support.fixtures",
    "tests.support.leaks",
    "tests.support.offers",
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

# The examples of a test share its fixtures, and lay out their own rows; a machine may be busy.
hypothesis.settings.register_profile(
    "songbook",
    deadline=None,
    suppress_health_check=[
        hypothesis.HealthCheck.function_scoped_fixture,
        hypothesis.HealthCheck.too_slow,
    ],
)
hypothesis.settings.load_profile("songbook")


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Run the tests on the event loop that serves."""
    return "asyncio", {"use_uvloop": True}
