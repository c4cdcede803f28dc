"""A service without some of the resources that it came with: the rest of the tests hold for it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from tests.support.copies import copied_repository
from tests.support.databases import spelled
from tests.support.marks import slow

pytestmark = pytest.mark.processes

REMOVED = ("cities", "playlists", "todos")


@slow
@pytest.mark.timeout(1500)
def test_a_copy_without_samples_passes_its_tests(tmp_path: Path, migrated_url: URL) -> None:
    """The tests of the library use no resource of the service; those of processes take minutes.

    One process runs them: each more would have connections of its own to the same server.
    """
    copy = copied_repository(tmp_path)
    project = copy / "project"
    environment = {name: text for name, text in os.environ.items() if "PYTEST" not in name} | {
        "DATABASE_URL": spelled(migrated_url),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SLOW_TESTS": "0",
    }

    def run(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=project,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if command[0] != "pytest" else subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + (done.stderr or "")
        return done.stdout

    for name in REMOVED:
        (project / "app" / "resources" / f"{name}.py").unlink()
    run("alembic", "revision", "--autogenerate", "-m", "drop samples")
    (copy / "docs" / "openapi.json").write_text(run("app", "openapi"))

    options = ("-q", "-n", "0", "-p", "no:cacheprovider", "-m", "not processes and not long")
    tested = run("pytest", *options, "tests/service", "tests/project")

    for name in REMOVED:
        assert f"there are no {name} in this service" in tested
    assert int(re.findall(r"([0-9]+) passed", tested)[-1]) > 1500
