"""What is measured in bulk: how psql does it and how Songbook does, with the floor and the aim."""

import re
from dataclasses import dataclass
from typing import NamedTuple

from psql import Psql
from rows import FIELDS, Files
from servers import Server
from transfers import CSV, NDJSON, Transfer, download, lines, upload

COLUMNS = ",".join(FIELDS)
EMPTY = "TRUNCATE song RESTART IDENTITY CASCADE"
# What one turn leaves to be written is not to be written in the next.
SETTLE = ("VACUUM (ANALYZE) song", "CHECKPOINT")
SHOWN = f"select id,{COLUMNS} from song order by id"
COPY_CSV = rf"\copy ({SHOWN}) to '/dev/null' (format csv, header)"
# JSON has neither of the two in it: nothing is quoted, and the lines are those of Songbook.
COPY_JSON = (
    rf"\copy (select row_to_json(shown) from ({SHOWN}) as shown) to '/dev/null'"
    r" (format csv, delimiter E'\x01', quote E'\x02')"
)
DIGEST = (
    "SELECT count(*), sum(hashtextextended(concat_ws(chr(1), name, artist, year), 0)) FROM song"
)
TIMED = re.compile(r"^COPY (\d+)\nTime: ([\d.]+) ms", re.MULTILINE)  # its start is not counted
FEW = 1000


class Bench(NamedTuple):
    """What a work is done with: the contenders, all of the songs, and few of them."""

    psql: Psql
    server: Server
    songs: Files
    few: Files
    rows: int

    def copy(self, command: str) -> Transfer:
        """Have psql copy the songs, and make sure that it was all of them."""
        told = self.psql.run(r"\timing on", command)
        timed = TIMED.search(told)
        if timed is None or int(timed[1]) != self.rows:
            raise SystemExit(f"psql should have copied {self.rows} songs: {told}")
        return Transfer(float(timed[2]) / 1000)

    def copy_in(self) -> Transfer:
        """Have psql store the songs; it reads CSV alone."""
        return self.copy(rf"\copy song({COLUMNS}) from '{self.songs.csv}' (format csv, header)")


@dataclass(frozen=True)
class Import:
    """Songs that are stored in an empty table, with its indexes."""

    title: str
    media_type: str
    floor: float = 0.2
    aim: float = 0.5

    def begin(self, bench: Bench) -> None:
        """Warm the server up."""
        upload(bench.server.port, bench.few.of(self.media_type), self.media_type, FEW)

    def before(self, bench: Bench) -> None:
        """Make a turn like every other."""
        bench.psql.run(EMPTY, *SETTLE)

    def psql(self, bench: Bench) -> Transfer:
        """Have psql do it."""
        return bench.copy_in()

    def songbook(self, bench: Bench) -> Transfer:
        """Have Songbook do it."""
        path = bench.songs.of(self.media_type)
        return upload(bench.server.port, path, self.media_type, bench.rows)

    def left(self, bench: Bench) -> tuple[int, str]:
        """Say how many songs a turn left, and a digest of them."""
        number, digest = bench.psql.run(DIGEST).split("|")
        return int(number), digest


@dataclass(frozen=True)
class Export:
    """All songs of the table."""

    title: str
    media_type: str
    command: str = COPY_CSV
    floor: float = 0.5
    aim: float = 0.8

    def begin(self, bench: Bench) -> None:
        """Fill the table, and warm the server up."""
        bench.psql.run(EMPTY)
        bench.copy_in()
        bench.psql.run(*SETTLE)
        lines(bench.server.port, f"/songs?limit={FEW}", self.media_type)

    def before(self, bench: Bench) -> None:
        """Make a turn like every other."""
        bench.psql.run("CHECKPOINT")

    def psql(self, bench: Bench) -> Transfer:
        """Have psql do it."""
        return bench.copy(self.command)

    def songbook(self, bench: Bench) -> Transfer:
        """Have Songbook do it."""
        return download(bench.server.port, self.media_type)

    def left(self, bench: Bench) -> tuple[int, str]:
        """Say how many songs are exported after a turn."""
        return lines(bench.server.port, "/songs", self.media_type) - (self.media_type == CSV), ""


Work = Import | Export
WORKS: dict[str, Work] = {
    "import-csv": Import("import CSV", CSV),
    "import-ndjson": Import("import NDJSON (1)", NDJSON),
    "export-csv": Export("export CSV", CSV),
    "export-ndjson": Export("export NDJSON (1)", NDJSON),
    "export-json": Export("export NDJSON (2)", NDJSON, COPY_JSON),
}
NOTES = """\
(1) psql copies the same songs as CSV, into and out of the same table.
(2) psql copies what row_to_json makes of the songs: the same lines as Songbook's.
(3) By how many MB (10⁶ bytes) the server was larger at most than before the first round: floor 30,
    aim 10. (4) Until the first byte of the answer, median. (5) The longest /ping while psql and
    while Songbook worked. Rates are medians over the rounds, and ratios are of those."""
