"""The songs that are moved in bulk: real ones, again and again, in files of two formats."""

import csv
import json
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import NamedTuple

from transfers import CSV

FIELDS = ("name", "artist", "year")
SOURCE = Path(__file__).resolve().parent.parent / "examples" / "songs.csv"


class Files(NamedTuple):
    """The same songs twice: as CSV with a header, and as NDJSON."""

    csv: Path
    ndjson: Path

    def of(self, media_type: str) -> Path:
        """Return the one in a format."""
        return self.csv if media_type == CSV else self.ndjson


def written(folder: Path, number: int) -> Files:
    """Write so many songs into a folder; they are the same every time."""
    files = Files(folder / f"songs-{number}.csv", folder / f"songs-{number}.ndjson")
    with (
        files.csv.open("w", encoding="utf-8", newline="") as table,
        files.ndjson.open("w", encoding="utf-8") as objects,
    ):
        rows = csv.writer(table, lineterminator="\n")
        rows.writerow(FIELDS)
        for name, artist, year in islice(songs(), number):
            rows.writerow((name, artist, year))
            song = dict(zip(FIELDS, (name, artist, year), strict=True))
            objects.write(json.dumps(song, ensure_ascii=False, separators=(",", ":")) + "\n")
    return files


def songs() -> Iterator[tuple[str, str, int | None]]:
    """Give the songs without end, with another number in their names each time around.

    Outer white space, which Songbook strips and psql does not, is left out.
    """
    with SOURCE.open(encoding="utf-8", newline="") as file:
        real = [tuple(song[field].strip() for field in FIELDS) for song in csv.DictReader(file)]
    for turn in count(1):
        for name, artist, year in real:
            yield f"{name} {turn}", artist, int(year) if year else None
