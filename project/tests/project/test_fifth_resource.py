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
class Format(StrEnum):
    \"\"\"What an album is sold as.\"\"\"

    LP = "12-inch"
    CD = "cd"


class AlbumBase(Schema):
    \"\"\"The fields shared by requests, responses and the table.\"\"\"

    title: Annotated[str, CaseInsensitive()] = Field(unique=True, max_length=100)
    tracks: int = Field(default=10, ge=1, le=500)
    label: str | None = None
    copies: int | None
    streams: int = Field(default=0, ge=0, le=10**15)
    is_cover: bool
    is_live: bool = False
    is_remaster: bool | None = None
    rating: float
    loudness: float | None = Field(default=None, gt=-200, le=0)
    price: Decimal = Field(max_digits=8, decimal_places=2, ge=0, index=True)
    discount: Decimal | None = Field(default=Decimal("0.5"), max_digits=30, decimal_places=12)
    released: date
    ended: date | None
    recorded_at: datetime
    mixed_at: datetime | None = None
    starts_at: time
    ends_at: time | None = None
    barcode: UUID = Field(unique=True)
    master: UUID | None = None
    genre: Literal["rock", "pop", "r&b 'n' \\\\"]
    mood: Literal["calm", "loud"] | None
    format: Format
    second_format: Format | None = Format.CD
    tags: list[str]
    aliases: list[str] | None = Field(default=None, min_length=1, max_length=3)
    details: dict[str, Any]
    notes: dict[str, Any] | None
    contact: Email | None = None
    homepage: Url | None


class Album(AlbumBase, Timestamps, SoftDelete, Record, table=True):
    \"\"\"The table.\"\"\"
"""


TYPES = """from datetime import date, datetime, time
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID
"""

IMPORTED = """import (
    CaseInsensitive,
    Email,
    Partial,
    Record,
    RecordPublic,
    Schema,
    SoftDelete,
    Timestamps,
    Url,
)
"""


CONTRACT = [
    "tests/service/contract",
    *(f"tests/project/test_{name}.py" for name in ("migrations", "structure")),
]


def write_albums(resources: Path) -> None:
    """Write a resource as the README says: copy songs.py, rename, write the fields."""
    songs = (resources / "songs.py").read_text()
    start = songs.index("class SongBase(")
    end = songs.index("class SongCreate(")
    albums = f"{songs[:start]}{ALBUMS.lstrip()}\n\n{songs[end:]}"
    for old, new in (
        ("song", "album"),
        ("albumbook", "songbook"),
        ("Song", "Album"),
        ("from typing import Annotated\n", TYPES),
        ("import Partial, Record, RecordPublic, Schema\n", IMPORTED),
        (
            "class AlbumPublic(AlbumBase, RecordPublic)",
            "class AlbumPublic(Timestamps, AlbumBase, RecordPublic)",
        ),
    ):
        assert old in albums
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
    assert int(re.findall(r"([0-9]+) passed", tested)[-1]) > 320
