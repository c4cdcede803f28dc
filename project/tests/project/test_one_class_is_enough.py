"""One class is enough: a line in SongBase, and nothing else, makes a field everywhere."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from tests.support.copies import ASK, copied_project
from tests.support.databases import execute, spelled
from tests.support.marks import slow
from tests.support.openapi import parameters_of

pytestmark = pytest.mark.processes

BASE = {"name": "Blue Monday", "artist": "New Order"}

Asked = tuple[str, str, Any]


class Copy:
    """A copy of the project in which lines were added to SongBase, and to the imports."""

    def __init__(self, folder: Path, lines: str, url: URL, imports: str = "") -> None:
        self.folder = copied_project(folder)
        self.url = url
        songs = self.folder / "app" / "resources" / "songs.py"
        head, tail = songs.read_text().split("    artist: str\n")
        if imports:
            head = head.replace("from typing import Annotated\n", imports)
        songs.write_text(f"{head}    artist: str\n{lines}{tail}")

    def ask(self, *asked: Asked, rows: str) -> tuple[str, list[list[Any]]]:
        """Migrate, import rows, send requests; return the new revision, and the answers."""
        versions = self.folder / "migrations" / "versions"
        known = {*versions.glob("*.py")}
        (self.folder / "songs.csv").write_text(rows)
        printed = self.run(
            *("-c", ASK, "field", "import", "songs", "songs.csv"), given=json.dumps(asked)
        )
        [new] = {*versions.glob("*.py")} - known
        return new.read_text(), json.loads(printed.splitlines()[-1])

    def run(self, *arguments: str, given: str = "") -> str:
        """Run Python in the copy; return what it prints."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env={**os.environ, "DATABASE_URL": spelled(self.url), "PATH": path},
            input=given,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout


def names(songs: list[dict[str, Any]]) -> list[str]:
    return [song["name"] for song in songs]


def shown(document: dict[str, Any], field: str) -> list[str]:
    """Return where a field is in the OpenAPI document: songs' schemas, and their parameters."""
    schemas = document["components"]["schemas"]
    parameters = parameters_of(document, "/songs")
    return [
        name
        for name, schema in schemas.items()
        if name.startswith("Song") and field in schema.get("properties", {})
    ] + sorted(each["name"] for each in parameters if each["name"].startswith(field))


@slow
def test_a_line_makes_a_number_in_the_table_the_bodies_the_filters_and_the_documents(
    tmp_path: Path, migrated_url: URL
) -> None:
    line = "    tempo: int | None = Field(default=None, ge=20, le=300)\n"
    copy = Copy(tmp_path, line, migrated_url)

    migration, answers = copy.ask(
        ("POST", "/songs", {**BASE, "tempo": "130"}),
        ("POST", "/songs", {**BASE, "tempo": 301}),
        ("PATCH", "/songs/3", {"tempo": 131}),
        ("GET", "/songs?tempo=76", None),
        ("GET", "/songs?tempo_gte=76&sort=tempo", None),
        ("GET", "/songs?sort=-tempo", None),
        ("GET", "/openapi.json", None),
        rows="tempo,name,artist\n76,Hurt,Johnny Cash\n,Roads,Portishead\n",
    )
    created, refused, changed, equal, faster, sorted_, document = answers

    assert "ck_song_tempo" in migration
    assert "\nimport sqlmodel\n" in migration
    assert created == [201, {"id": 3, **BASE, "tempo": 130, "year": None}]
    assert refused[0] == 422
    assert refused[1]["errors"][0]["pointer"] == "/tempo"
    assert changed == [200, {"id": 3, **BASE, "tempo": 131, "year": None}]
    assert names(equal[1]) == ["Hurt"]
    assert names(faster[1]) == ["Hurt", "Blue Monday"]
    assert names(sorted_[1]) == ["Roads", "Blue Monday", "Hurt"]
    assert {"SongCreate", "SongPublic", "SongUpdate"} <= {*shown(document[1], "tempo")}
    assert {"tempo", "tempo_gt", "tempo_gte", "tempo_lt", "tempo_lte"} <= {
        *shown(document[1], "tempo")
    }
    with pytest.raises(DBAPIError, match="ck_song_tempo"):
        execute(migrated_url, "UPDATE song SET tempo = 19")


@slow
def test_a_line_makes_a_text_that_is_searched_too(tmp_path: Path, migrated_url: URL) -> None:
    copy = Copy(tmp_path, "    genre: str | None = None\n", migrated_url)

    migration, answers = copy.ask(
        ("POST", "/songs", {**BASE, "genre": " Synth-Pop "}),
        ("POST", "/songs", {**BASE, "genre": ""}),
        ("GET", "/songs?genre=", None),
        ("GET", "/songs?genre_contains=POP", None),
        ("GET", "/songs?q=country+cash", None),
        ("GET", "/songs?sort=genre", None),
        ("GET", "/openapi.json", None),
        rows="name,artist,genre\nHurt,Johnny Cash,Country\nRoads,Portishead,\n",
    )
    created, refused, none, part, found, sorted_, document = answers

    assert "ck_song_genre" in migration
    assert "ix_song_words" in migration
    assert created == [201, {"id": 3, **BASE, "genre": "Synth-Pop", "year": None}]
    assert refused[0] == 422
    assert names(none[1]) == ["Roads"]
    assert names(part[1]) == ["Blue Monday"]
    assert names(found[1]) == ["Hurt"]
    assert names(sorted_[1]) == ["Hurt", "Blue Monday", "Roads"]
    assert {"SongCreate", "SongPublic", "SongUpdate", "genre", "genre_contains"} <= {
        *shown(document[1], "genre")
    }
    [(index,)] = execute(
        migrated_url, "SELECT indexdef FROM pg_indexes WHERE indexname = 'ix_song_words'"
    )
    assert "genre" in index


IMPORTS = """from datetime import date
from decimal import Decimal
from typing import Annotated, Literal
"""
LINES = """    genre: Literal["rock", "pop"] | None = None
    released: date | None = None
    price: Decimal | None = Field(default=None, max_digits=8, decimal_places=2)
"""
DOWN_AND_UP = """
from alembic.config import main as alembic

for line in ("downgrade -1", "upgrade head", "check"):
    alembic(line.split())
"""
FIELDS = {"genre": "rock", "released": "9999-12-31", "price": "9.90"}
ROWS = """price,genre,released,name,artist
0.05,pop,1979-05-11,Roads,Portishead
,,,Hurt,Johnny Cash
"""


@slow
def test_three_lines_make_a_choice_a_date_and_a_decimal(tmp_path: Path, migrated_url: URL) -> None:
    copy = Copy(tmp_path, LINES, migrated_url, IMPORTS)

    migration, answers = copy.ask(
        ("POST", "/songs", {**BASE, **FIELDS, "price": 9.9}),
        ("POST", "/songs", {**BASE, "genre": "jazz", "released": 0, "price": "1.005"}),
        ("PATCH", "/songs/2", {"genre": "pop"}),
        ("GET", "/songs?genre=pop", None),
        ("GET", "/songs?released_gt=1979-05-11", None),
        ("GET", "/songs?price_lte=0.05", None),
        ("GET", "/songs?genre=jazz", None),
        *(("GET", f"/songs?sort={name}", None) for name in FIELDS),
        ("GET", "/openapi.json", None),
        rows=ROWS,
    )
    created, refused, changed, pop, later, cheap, jazz, *in_order, document = answers

    assert "ck_song_genre" in migration
    assert created == [201, {"id": 3, **BASE, **FIELDS, "year": None}]
    assert refused[0] == 422
    assert {error["pointer"] for error in refused[1]["errors"]} == {f"/{name}" for name in FIELDS}
    nothing = {"released": None, "price": None, "year": None}
    hurt = {"id": 2, "name": "Hurt", "artist": "Johnny Cash"}
    assert changed == [200, {**hurt, "genre": "pop", **nothing}]
    assert names(pop[1]) == ["Roads", "Hurt"]
    assert names(later[1]) == ["Blue Monday"]
    assert names(cheap[1]) == ["Roads"]
    assert (jazz[0], jazz[1]["errors"][0]["pointer"]) == (422, "/genre")
    assert [names(listed) for _, listed in in_order] == [
        ["Roads", "Hurt", "Blue Monday"],
        ["Roads", "Blue Monday", "Hurt"],
        ["Roads", "Blue Monday", "Hurt"],
    ]
    for name in FIELDS:
        ranges = {name + each for each in ("_gt", "_gte", "_lt", "_lte") if name != "genre"}
        schemas = {"SongCreate", "SongPublic", "SongUpdate"}
        assert {*shown(document[1], name)} == schemas | {name, f"{name}_not"} | ranges
    for column, value in (("genre", "'jazz'"), ("price", "1000000")):
        with pytest.raises(DBAPIError, match=r"ck_song_genre|numeric field overflow"):
            execute(migrated_url, f"UPDATE song SET {column} = {value}")
    assert copy.run("-m", "app", "export", "songs") == (
        "id,name,artist,genre,released,price,year\n"
        "1,Roads,Portishead,pop,1979-05-11,0.05,\n"
        "2,Hurt,Johnny Cash,pop,,,\n"
        "3,Blue Monday,New Order,rock,9999-12-31,9.90,\n"
    )
    copy.run("-c", DOWN_AND_UP)
