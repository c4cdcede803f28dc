"""`start.sh`: it migrates and serves, with whichever Python has the packages."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from sqlalchemy.engine import URL

from tests.support.copies import copied_project
from tests.support.databases import spelled
from tests.support.marks import slow
from tests.support.paths import PROJECT
from tests.support.processes import NOWHERE, Service, ended_at_last

pytestmark = pytest.mark.processes


@slow
def test_the_script_migrates_serves_and_hands_the_signals_on(scratch_url: URL) -> None:
    service = Service(
        program=[str(PROJECT / "start.sh")], DATABASE_URL=spelled(scratch_url), PORT="0"
    )
    with ended_at_last(service):
        service.answers(service.said())
        assert httpx.get(f"{service.address}/songs").json() == []
        end = service.end(signal.SIGTERM)

    assert end.code in {0, 143}
    assert "Traceback" not in end.told
    assert service.is_gone()


@slow
def test_the_script_takes_the_python_that_has_the_packages(tmp_path: Path) -> None:
    project, bare = copied_project(tmp_path), tmp_path / "bin"
    bare.mkdir()
    for tool in ("sh", "dirname"):
        (bare / tool).symlink_to(str(shutil.which(tool)))

    def started() -> str:
        return subprocess.run(
            [project / "start.sh", "--port", "0"],
            cwd=tmp_path,
            env={**os.environ, "PATH": str(bare), "DATABASE_URL": NOWHERE},
            capture_output=True,
            text=True,
            check=False,
        ).stderr

    for name in ("python", "python3"):  # they have no packages
        (bare / name).write_text(f'#!/bin/sh\nexec {sys.executable} -IS "$@"\n')
        (bare / name).chmod(0o755)
    assert started() == "start.sh: no Python here has the packages: run make install.\n"

    (bare / "python").unlink()
    installed = tmp_path / ".venv" / "bin" / "python"
    installed.parent.mkdir(parents=True)
    installed.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    installed.chmod(0o755)
    assert started().startswith("songbook: cannot connect to PostgreSQL at 127.0.0.1:1: ")
