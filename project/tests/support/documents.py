"""Documents whose code is a resource, and whose session a service with it answers."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

from sqlalchemy.engine import URL

from tests.support.copies import apply, copied_project
from tests.support.databases import spelled
from tests.support.paths import ROOT
from tests.support.processes import Service, ended_at_last
from tests.support.waiting import PATIENCE

_BLOCK = re.DOTALL | re.MULTILINE

MIGRATE = """
from alembic.config import main as alembic

for line in ("upgrade head", "revision --autogenerate -m add", "upgrade head", "check"):
    alembic(line.split())
"""


def different_answers(document: Path, place: Path, url: URL, *resources: str) -> int:
    """Serve the document's resources; return how many answers differ from those that it shows.

    Each of their modules begins with its docstring, and blocks that the service's own modules have
    are no part of them. What the document changes in others is changed. There is a superuser `ada`.
    """
    project = copied_project(place)
    served = "".join(each.read_text() for each in (project / "app" / "resources").glob("*.py"))
    blocks = re.findall(r"^```python\n(.*?)^```$", document.read_text(), _BLOCK)
    code = "\n\n".join(block for block in blocks if block not in served)
    modules = [project / "app" / "resources" / f"{name}.py" for name in resources]
    for module, text in zip(modules, re.split(r'\n\n(?=^"""\w)', code, flags=_BLOCK), strict=True):
        module.write_text(text)
    for diff in re.findall(r"^```diff\n(.*?)^```$", document.read_text(), _BLOCK):
        apply(diff, place)
    database = {"DATABASE_URL": spelled(url)}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for arguments in (
        ["-m", "ruff", "check", *modules],
        ["-m", "ruff", "format", "--check", *modules],
        ["-c", MIGRATE],
        ["-m", "app", "create-superuser", "ada", "ada@example.org"],
    ):
        subprocess.run(
            [sys.executable, *arguments],
            cwd=project,
            env={**os.environ, "PATH": path, **database},
            check=True,
            timeout=PATIENCE,
            input=b"correct horse\n",
        )
    demo = runpy.run_path(str(ROOT / "examples" / "demo.py"))
    assert len(demo["session"](document.read_text())) > 9
    service = Service("app", "serve", folder=project, PORT="0", **database)
    with ended_at_last(service):
        service.answers(service.said())
        port = int(service.address.rpartition(":")[2])
        return int(demo["run"](document, port, place, {**os.environ}))
