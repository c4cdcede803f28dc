"""The example data of the service: `python -m app seed`."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from app.resources import modules
from songbook.models import family
from tests.support.databases import execute, spelled
from tests.support.paths import PROJECT
from tests.support.processes import Outcome

FILES = [path for path in (PROJECT / "app" / "examples").iterdir() if path.stem in modules()]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_all_example_data_are_stored(command: Callable[..., Outcome], migrated_url: URL) -> None:
    outcome = command("seed", DATABASE_URL=spelled(migrated_url))

    assert (outcome.code, outcome.told) == (0, [])
    for path in FILES:
        table = family(modules()[path.stem]).table.__tablename__
        assert execute(migrated_url, f"SELECT count(*) FROM {table}") == [(len(rows(path)),)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.stem))
def test_example_data_are_small_and_each_row_differs(path: Path) -> None:
    assert path.stat().st_size < 100_000
    texts = [tuple(row.values()) for row in rows(path)]
    assert len(set(texts)) == len(texts)
