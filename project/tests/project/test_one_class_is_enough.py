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

pytestmark = pytest.mark.processes

BASE = {"name": "Blue Monday", "artist": "New Order"}

Asked = tuple[str, str, Any]


class Copy:
    """A copy of the project in which one line was added to SongBase."""

    def __init__(self, folder: Path, line: str, url: URL) -> None:
        self.folder = copied_project(folder)
        self.url = url
        songs = self.folder / "app" / "resources" / "songs.py"
        head, tail = songs.read_text().split("    artist: str\n")
        songs.write_text(f"{head}    artist: str\n{line}{tail}")

    def ask(self, *asked: Asked, rows: str) -> tuple[str, list[list[Any]]]:
        """Migrate, import rows, send requests; return the new revision, and the answers."""
        versions = self.folder / "migrations" / "versions"
        known = {*versions.glob("*.py")}
        (self.folder / "songs.csv").write_text(rows)
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        printed = subprocess.run(
            [sys.executable, "-c", ASK, "field", "import", "songs", "songs.csv"],
            cwd=self.folder,
            env={**os.environ, "DATABASE_URL": spelled(self.url), "PATH": path},
            input=json.dumps(asked),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout
        [new] = {*versions.glob("*.py")} - known
        return new.read_text(), json.loads(printed.splitlines()[-1])


def names(songs: list[dict[str, Any]]) -> list[str]:
    return [song["name"] for song in songs]


def shown(document: dict[str, Any], field: str) -> list[str]:
    """Return where a field is in the OpenAPI document: the schemas, and the list's parameters."""
    schemas = document["components"]["schemas"]
    parameters = document["paths"]["/songs"]["get"]["parameters"]
    return [
        name for name, schema in schemas.items() if field in schema.get("properties", {})
    ] + sorted(each["name"] for each in parameters if each["name"].startswith(field))


def test_a_line_makes_a_number_in_the_table_the_bodies_the_filters_and_the_documents(
    tmp_path: Path, scratch_url: URL
) -> None:
    line = "    tempo: int | None = Field(default=None, ge=20, le=300)\n"
    copy = Copy(tmp_path, line, scratch_url)

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
        execute(scratch_url, "UPDATE song SET tempo = 19")


@slow
def test_a_line_makes_a_text_that_is_searched_too(tmp_path: Path, scratch_url: URL) -> None:
    copy = Copy(tmp_path, "    genre: str | None = None\n", scratch_url)

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
        scratch_url, "SELECT indexdef FROM pg_indexes WHERE indexname = 'ix_song_words'"
    )
    assert "genre" in index
