"""The songs in `examples/`, as the README has them imported."""

import re
from collections.abc import Callable

import pytest
from sqlalchemy.engine import URL

from tests.support.databases import execute, spelled
from tests.support.paths import ROOT
from tests.support.processes import Outcome

EXAMPLES = ROOT / "examples" / "songs.csv"


@pytest.mark.long
def test_the_example_songs_are_loaded_whole(
    command: Callable[..., Outcome], migrated_url: URL
) -> None:
    outcome = command("import", "songs", str(EXAMPLES), DATABASE_URL=spelled(migrated_url))

    assert re.fullmatch(r"15738 songs stored in \d+\.\d s\.\n", outcome.printed)
    assert (outcome.code, outcome.told) == (0, [])
    assert execute(migrated_url, "SELECT count(*), count(year), min(version) FROM song") == [
        (15738, 15738 - 6544, 1)
    ]
    assert execute(migrated_url, "SELECT name, artist, year FROM song ORDER BY id LIMIT 2") == [
        ("Caught Up in You", ".38 Special", 1982),
        ("Fantasy Girl", ".38 Special", None),
    ]
