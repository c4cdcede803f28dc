"""Measure what lists of some of the fields cost, against those of all, in turns in one process.

As in observed.py the requests reach the application without a server and its client. The CPU is
that of the application and of PostgreSQL, which does most of what is saved.
"""

import asyncio
import json
import os
import re
import statistics
import time
from argparse import ArgumentParser
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from pathlib import Path

import uvloop
from contenders import PRODUCTION, PROJECT
from database import DATABASE, prepared
from measure import tell
from observed import Asked, ask
from sheets import Rows, markdown, put

REQUESTS = 64
QUERY = "year_gte={}"
WHOLE = "all four"
FIELDS = {WHOLE: "", "id,name": "&fields=id,name", "name,artist": "&fields=name,artist"}
STATEMENT = "the statement"
SCENARIOS = {STATEMENT: 1, "one at a time": 1, "32 in flight": 32}
"""How many requests are in flight; no two of them share a statement."""

Send = Callable[[str], Awaitable[object]]


async def batch(send: Send, fields: str, in_flight: int) -> float:
    """Send a batch of requests; return the CPU per request, in microseconds."""
    numbers = iter(range(REQUESTS))

    async def client() -> None:
        for number in numbers:
            await send(QUERY.format(number) + fields)

    files = backends()
    before = cpu_seconds(files)
    await asyncio.gather(*(client() for _ in range(in_flight)))
    return (cpu_seconds(files) - before) / REQUESTS * 1e6


def backends() -> list[Path]:
    """Return the files with the CPU of PostgreSQL's processes for the database."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it ended meanwhile
            if re.match(rf"postgres: .*\b{DATABASE}\b", file.read_text()):
                found.append(file.with_name("schedstat"))
    return found


def cpu_seconds(files: Iterable[Path]) -> float:
    """Return the CPU that this process and those of these files have used."""
    used = sum(int(file.read_text().split()[0]) for file in files)
    return time.process_time() + used / 1e9


async def measured(rounds: int) -> dict[str, dict[str, list[float]]]:
    """Return the CPU per request of each scenario and its fields, by round."""
    from app.main import app  # noqa: PLC0415 - it reads its settings
    from app.resources.songs import songs  # noqa: PLC0415
    from songbook.http import read_query_string  # noqa: PLC0415
    from songbook.lists import page_query, parse_params  # noqa: PLC0415

    async def request(query: str) -> None:
        await ask(app, Asked("GET", "/songs", query.encode()))

    async def statement(query: str) -> None:
        params = parse_params(songs, read_query_string(query.encode(), 9))
        await app.state.service.database.fetch(page_query(params, with_total=False))

    found: dict[str, dict[str, list[float]]] = {}
    async with app.router.lifespan_context(app):
        for name, in_flight in SCENARIOS.items():
            tell(f"{name}, {rounds} rounds")
            send = statement if name == STATEMENT else request
            taken = found[name] = {fields: [] for fields in FIELDS}
            for number in range(-2, rounds):  # the first two to warm up
                turn = number % len(FIELDS)
                for fields in ([*FIELDS] * 2)[turn : turn + len(FIELDS)]:
                    cost = await batch(send, FIELDS[fields], in_flight)
                    if number >= 0:
                        taken[fields].append(cost)
    return found


def table(found: dict[str, dict[str, list[float]]]) -> Rows:
    """Return the medians, and the medians of the ratios of each round to the whole list."""
    rows = [["CPU µs (ratio to all four)", *FIELDS]]
    for name, taken in found.items():
        base = taken[WHOLE]
        cells = [f"{statistics.median(base):.0f}"]
        for fields in [*FIELDS][1:]:
            ratios = [after / before for before, after in zip(base, taken[fields], strict=True)]
            cells.append(
                f"{statistics.median(taken[fields]):.0f} ({statistics.median(ratios):.2f})"
            )
        rows.append([name, *cells])
    return rows


def main() -> None:
    """Measure, show and store."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200, help="turns of each variant")
    parser.add_argument("--json", type=Path, metavar="FILE", help="store them, and publish them")
    options = parser.parse_args()
    file = options.json and options.json.resolve()
    os.chdir(PROJECT)
    with prepared(PROJECT) as url:
        os.environ.update({"DATABASE_URL": url, "ACCESS_LOG": "false", **PRODUCTION})
        found = uvloop.run(measured(options.rounds))
    shown = markdown(table(found))
    print(shown)
    if file:
        medians = {
            name: {fields: round(statistics.median(each), 1) for fields, each in taken.items()}
            for name, taken in found.items()
        }
        file.write_text(json.dumps(medians, indent=1) + "\n", encoding="utf-8")
        put("fields", shown)


if __name__ == "__main__":
    main()
