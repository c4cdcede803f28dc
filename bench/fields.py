"""Measure what lists of some of the fields cost, against those of all, in turns in one process.

As in observed.py the requests reach the application without a server and its client. The CPU is
that of the application and of PostgreSQL, which does most of what is saved.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from pathlib import Path

from database import DATABASE
from measure import tell
from observed import Asked, ask
from sheets import Rows
from turns import Taken, compared, run, turn_of

REQUESTS = 64
QUERY = "year_gte={}"
FIELDS = {"all four": "", "id,name": "&fields=id,name", "name,artist": "&fields=name,artist"}
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


async def measured(rounds: int) -> Taken:
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

    found: Taken = {}
    async with app.router.lifespan_context(app):
        for name, in_flight in SCENARIOS.items():
            tell(f"{name}, {rounds} rounds")
            send = statement if name == STATEMENT else request
            taken = found[name] = {fields: [] for fields in FIELDS}
            for number in range(-2, rounds):  # the first two to warm up
                for fields in turn_of([*FIELDS], number):
                    cost = await batch(send, FIELDS[fields], in_flight)
                    if number >= 0:
                        taken[fields].append(cost)
    return found


def table(found: Taken) -> Rows:
    """Return the medians, and the medians of the ratios of each round to the whole list."""
    return compared(
        "CPU µs (ratio to all four)",
        found,
        lambda median: f"{median:.0f}",
        lambda median, ratio: f"{median:.0f} ({ratio:.2f})",
    )


if __name__ == "__main__":
    run("fields", __doc__, measured, table, rounds=200, digits=1)
