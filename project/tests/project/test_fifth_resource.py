"""A resource more is one module and one migration: the whole contract holds for it by itself.

Two that belong together are two modules and one migration.
"""

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

ARTISTS = """
class ArtistBase(Schema):
    \"\"\"The fields shared by requests, responses and the table.\"\"\"

    name: str = Field(unique=True)
    country: str | None = Field(default=None, max_length=50)


class Artist(ArtistBase, SoftDelete, Record, table=True):
    \"\"\"The table.\"\"\"
"""

ALBUMS = """
class Format(StrEnum):
    \"\"\"What an album is sold as.\"\"\"

    LP = "12-inch"
    CD = "cd"


class AlbumBase(Schema):
    \"\"\"The fields shared by requests, responses and the table.\"\"\"

    title: Annotated[str, CaseInsensitive()] = Field(unique=True, max_length=100)
    artist_id: int = Field(foreign_key="artist.id")
    guest_id: int | None = Field(default=None, foreign_key="artist.id", ondelete="SET NULL")
    first_id: int | None = Field(default=None, foreign_key="album.id")
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


COUNT = """NUMBER_OF_ALBUMS = (
    select(func.count())
    .select_from(Album)
    .where(col(Album.artist_id) == col(Artist.id), *not_deleted(Album))
    .scalar_subquery()
)

artists = Records(Artist, ArtistPublic, {"number_of_albums": NUMBER_OF_ALBUMS})
"""


def write_resource(resources: Path, name: str, fields: str, *others: tuple[str, str]) -> None:
    """Write a resource as the README says: copy songs.py, rename, write the fields."""
    songs = (resources / "songs.py").read_text()
    start = songs.index("class SongBase(")
    end = songs.index("class SongCreate(")
    module = f"{songs[:start]}{fields.lstrip()}\n\n{songs[end:]}"
    for old, new in (
        ("song", name),
        (f"{name}book", "songbook"),
        ("Song", name.capitalize()),
        *others,
    ):
        assert old in module, old
        module = module.replace(old, new)
    (resources / f"{name}s.py").write_text(module)


def write_albums(resources: Path) -> None:
    """Write a resource with fields of every type."""
    write_resource(
        resources,
        "album",
        ALBUMS,
        ("from typing import Annotated\n", TYPES),
        ("import Partial, Record, RecordPublic, Schema\n", IMPORTED),
        (
            "class AlbumPublic(AlbumBase, RecordPublic)",
            "class AlbumPublic(Timestamps, AlbumBase, RecordPublic)",
        ),
    )


def write_artists(resources: Path) -> None:
    """Write a resource that albums refer to, and whose records tell how many do."""
    models = ("Partial", "Record", "RecordPublic", "Schema", "SoftDelete", "not_deleted")
    post = (
        '("", response_model=ArtistPublic, status_code=201, bulk=imports_of(artists, ArtistCreate))'
    )
    responses = '(ArtistBase, RecordPublic):\n    """The representation in responses."""\n'
    write_resource(
        resources,
        "artist",
        ARTISTS,
        ("from sqlmodel import Field\n", "from sqlmodel import Field, col, func, select\n"),
        ("import Partial, Record, RecordPublic, Schema\n", f"import {', '.join(models)}\n"),
        ("from songbook.auth", "from app.resources.albums import Album\nfrom songbook.auth"),
        (responses, f"{responses}\n    number_of_albums: int\n"),
        ("artists = Records(Artist, ArtistPublic)\n", COUNT),
        (post, f"(\n    {post[1:-1]}\n)"),
    )


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files that are not a tool's own."""
    paths = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return {
        str(path): (folder / path).read_bytes()
        for path in paths
        if not any(part.startswith((".", "__pycache__")) for part in path.parts)
    }


@slow
@pytest.mark.timeout(1500)
def test_two_resources_more_are_two_modules_and_one_migration(
    tmp_path: Path, migrated_url: URL
) -> None:
    caches = shutil.ignore_patterns("__pycache__", ".*", "test_fifth_resource.py")
    project = shutil.copytree(PROJECT, tmp_path / "project", ignore=caches)
    shutil.copy(ROOT / "pytest.toml", tmp_path)
    (tmp_path / "docs").mkdir()
    before = contents(project)
    environment = {
        **os.environ,
        "DATABASE_URL": spelled(migrated_url),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
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

    write_artists(project / "app" / "resources")
    write_albums(project / "app" / "resources")
    run("alembic", "revision", "--autogenerate", "-m", "add artists and albums")
    run("alembic", "upgrade", "head")
    run("alembic", "check")
    (tmp_path / "docs" / "openapi.json").write_text(run("app", "openapi"))
    run("ruff", "format", "app")  # with the longer names a line has become too long
    run("ruff", "check", ".")
    run("ruff", "format", "--check", ".")
    both = ("-k", "artists or albums")
    tested = run(
        "pytest", "-q", "-n", "0", "-o", "timeout=600", "-p", "no:cacheprovider", *both, *CONTRACT
    )

    after = contents(project)
    new = after.keys() - before.keys()
    assert {path: after[path] for path in before} == before
    assert len(new) == 3
    assert {"app/resources/artists.py", "app/resources/albums.py"} < new
    assert any(path.startswith("migrations/versions/") for path in new)
    assert int(re.findall(r"([0-9]+) passed", tested)[-1]) > 550
