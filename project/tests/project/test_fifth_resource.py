"""A resource more is one module and one migration: the whole contract holds for it by itself."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from tests.support.databases import spelled
from tests.support.marks import slow
from tests.support.paths import PROJECT, ROOT

pytestmark = pytest.mark.processes

ALBUMS = """
class AlbumBase(Schema):
    \"\"\"The fields shared by requests, responses and the table.\"\"\"

    title: Annotated[str, Characters(100, ignores_case=True)] = Field(unique=True)
    tracks: Annotated[int, Whole(1, 500)] = 10
    label: Text | None = None
    is_cover: Flag
    is_live: Flag = False


class Album(AlbumBase, Timestamps, SoftDelete, Record, table=True):
    \"\"\"The table.\"\"\"
"""


IMPORTED = """import (
    Characters,
    Flag,
    Partial,
    Record,
    RecordPublic,
    Schema,
    SoftDelete,
    Text,
    Timestamps,
    Whole,
)
"""


CONTRACT = [
    "tests/service/contract",
    *(f"tests/project/test_{name}.py" for name in ("migrations", "structure")),
]


def write_albums(resources: Path) -> None:
    """Write a resource as the README says: copy songs.py, rename, write the fields."""
    songs = (resources / "songs.py").read_text()
    start = songs.index("Year = ")
    end = songs.index("class SongCreate(")
    albums = f"{songs[:start]}\n{ALBUMS.lstrip()}\n\n{songs[end:]}"
    for old, new in (
        ("song", "album"),
        ("albumbook", "songbook"),
        ("Song", "Album"),
        ("import Partial, Record, RecordPublic, Schema, Text, Whole\n", IMPORTED),
        (
            "class AlbumPublic(AlbumBase, RecordPublic)",
            "class AlbumPublic(Timestamps, AlbumBase, RecordPublic)",
        ),
    ):
        albums = albums.replace(old, new)
    (resources / "albums.py").write_text(albums)


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files that are not a tool's own."""
    paths = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return {
        str(path): (folder / path).read_bytes()
        for path in paths
        if not any(part.startswith((".", "__pycache__")) for part in path.parts)
    }


@slow
@pytest.mark.timeout(300)
def test_a_resource_more_is_one_module_and_one_migration(tmp_path: Path, scratch_url: URL) -> None:
    caches = shutil.ignore_patterns("__pycache__", ".*", "test_fifth_resource.py")
    project = shutil.copytree(PROJECT, tmp_path / "project", ignore=caches)
    shutil.copy(ROOT / "pytest.toml", tmp_path)
    (tmp_path / "docs").mkdir()
    before = contents(project)
    environment = {
        **os.environ,
        "DATABASE_URL": spelled(scratch_url),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }

    def run(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=project,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    write_albums(project / "app" / "resources")
    run("alembic", "upgrade", "head")
    run("alembic", "revision", "--autogenerate", "-m", "add albums")
    run("alembic", "upgrade", "head")
    run("alembic", "check")
    (tmp_path / "docs" / "openapi.json").write_text(run("app", "openapi"))
    run("ruff", "check", ".")
    run("ruff", "format", "--check", ".")
    tested = run("pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "-k", "albums", *CONTRACT)

    after = contents(project)
    new = after.keys() - before.keys()
    assert {path: after[path] for path in before} == before
    assert len(new) == 2
    assert "app/resources/albums.py" in new
    assert any(path.startswith("migrations/versions/") for path in new)
    assert int(re.findall(r"([0-9]+) passed", tested)[-1]) > 220
