"""Measure Songbook's imports and exports against psql's copies, side by side in one run."""

import signal
import sys
import tempfile
from argparse import Namespace
from functools import partial
from pathlib import Path

from bulk_report import Bulk, Pass, described, show
from contenders import PRODUCTION, SONGBOOK
from database import UNDISTURBED, prepared
from measure import parser_of
from psql import psql_of
from report import write
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)
from rows import written
from servers import running
from watch import memory, watching
from works import FEW, NOTES, WORKS, Bench, Work

FEWEST, MOST = 1000, 10_000_000
MEGABYTE = 1_000_000
SHOWN = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())


def measure_all(options: Namespace, progress: Progress) -> dict[str, Bulk]:
    """Measure the works, each with a server that has done nothing else."""
    names = options.only or [*WORKS]
    progress.add_task("preparing", total=2 * options.rounds * len(names))
    project, found = options.project.resolve(), {}
    with tempfile.TemporaryDirectory() as folder, prepared(project) as url:
        psql = psql_of(url)
        psql.run(UNDISTURBED)
        few, songs = (written(Path(folder), number) for number in (FEW, options.rows))
        for name in names:
            with running(
                "songbook", SONGBOOK.command, project, {"DATABASE_URL": url, **PRODUCTION}
            ) as server:
                bench = Bench(psql, server, songs, few, options.rows)
                found[name] = measure(WORKS[name], bench, options.rounds, progress)
    return found


def measure(work: Work, bench: Bench, rounds: int, progress: Progress) -> Bulk:
    """Measure one work, the contenders taking turns."""
    tell = partial(progress.console.print, highlight=False, soft_wrap=True)
    tell(f"{work.title}: psql / Songbook, rows/s")
    progress.update(progress.task_ids[0], description=work.title)
    work.begin(bench)
    before = memory(bench.server.process.pid)
    bulk = Bulk(work.title, work.floor, work.aim, [], [], [])
    left = set()
    for number in range(1, rounds + 1):
        for side, transfer in ((bulk.psql, work.psql), (bulk.songbook, work.songbook)):
            work.before(bench)
            with watching(bench.server) as watch:
                done = transfer(bench)
            side.append(Pass(bench.rows / done.seconds, done.first, watch.longest))
            left.add(work.left(bench))
            progress.advance(progress.task_ids[0])
        if len(left) > 1:
            raise SystemExit(f"{work.title}: the contenders did not do the same: {left}")
        bulk.growth.append((watch.peak - before) / MEGABYTE)
        tell(f"  round {number}: {bulk.latest}")
    return bulk


def many(digits: str) -> int:
    """Read a number of rows that keeps the run within reason."""
    number = int(digits)
    if not FEWEST <= number <= MOST:
        raise ValueError
    return number


def arguments() -> Namespace:
    """Read the command line."""
    parser = parser_of(__doc__, WORKS, rounds=3)
    parser.add_argument("--rows", type=many, default=1_000_000, help="songs that are moved")
    return parser.parse_args()


def main() -> None:
    """Measure, show and store."""
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with Progress(*SHOWN) as progress:
        found = measure_all(options, progress)
    about: dict[str, object] = {"rows": options.rows, "rounds": options.rounds}
    show([*found.values()], about, NOTES)
    if options.json:
        write(options.json, {name: described(bulk) for name, bulk in found.items()}, about)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
