"""The code of docs/queries-and-transactions.md does what the document shows."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from tests.support.copies import copied_project
from tests.support.databases import spelled
from tests.support.marks import slow
from tests.support.paths import ROOT
from tests.support.processes import Service, ended_at_last

pytestmark = pytest.mark.processes

DOCUMENT = ROOT / "docs" / "queries-and-transactions.md"
MIGRATE = """
from alembic.config import main as alembic

for line in ("upgrade head", "revision --autogenerate -m corrections", "upgrade head", "check"):
    alembic(line.split())
"""


@slow
def test_the_handlers_of_the_document_answer_as_it_shows(tmp_path: Path, scratch_url: URL) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
    project = copied_project(tmp_path)
    module = project / "app" / "resources" / "corrections.py"
    module.write_text("\n\n".join(blocks))
    database = {"DATABASE_URL": spelled(scratch_url)}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for arguments in (
        ["-m", "ruff", "check", module],
        ["-m", "ruff", "format", "--check", module],
        ["-c", MIGRATE],
    ):
        subprocess.run(
            [sys.executable, *arguments],
            cwd=project,
            env={**os.environ, "PATH": path, **database},
            check=True,
            timeout=60,
        )
    demo = runpy.run_path(str(ROOT / "examples" / "demo.py"))
    service = Service("app", "serve", folder=project, PORT="0", **database)
    with ended_at_last(service):
        service.answers(service.said())
        port = int(service.address.rpartition(":")[2])
        different = demo["run"](DOCUMENT, port, tmp_path, {**os.environ})

    assert len(demo["session"](DOCUMENT.read_text())) > 10
    assert different == 0
