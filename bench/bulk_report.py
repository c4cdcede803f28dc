"""What was found of many rows: medians, a table for the terminal, plain values for JSON."""

from collections.abc import Iterator
from statistics import median
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

MEMORY = (30, 10)  # floor and aim: by how many MB a worker may grow
HEADS = ("psql", "Songbook", "ratio", "floor", "aim", "reached", "memory MB (3)", "reached")
HEADS += ("byte ms (4)", "ping ms (5)")
WIDTH = 132  # columns, however narrow the terminal or pipe


class Pass(NamedTuple):
    """One turn: rows per second, the seconds until the first byte, and those of a ping at most."""

    rate: float
    first: float | None
    ping: float


class Bulk(NamedTuple):
    """All rounds of one work, and the ratios of rows per second that are wanted."""

    title: str
    floor: float
    aim: float
    psql: list[Pass]
    songbook: list[Pass]
    growth: list[float]
    """By how many MB the server was larger in a round, at most, than before the first."""

    @property
    def ratio(self) -> float:
        """Say how many rows Songbook moves while psql moves one."""
        return rate(self.songbook) / rate(self.psql)

    @property
    def reached(self) -> str:
        """Name the mark that the ratio reaches."""
        return mark(is_floor=self.ratio >= self.floor, is_aim=self.ratio >= self.aim)

    @property
    def reached_in_memory(self) -> str:
        """Name the mark that the memory keeps within."""
        most, fewer = MEMORY
        return mark(is_floor=max(self.growth) <= most, is_aim=max(self.growth) <= fewer)

    @property
    def latest(self) -> str:
        """Tell the last round in one line."""
        a, b = self.psql[-1], self.songbook[-1]
        first = "" if b.first is None else f", first byte after {b.first * 1000:.0f} ms"
        return (
            f"{a.rate:,.0f} / {b.rate:,.0f} = {b.rate / a.rate:.2f}, memory {self.growth[-1]:+.1f}"
            f" MB{first}, longest ping {a.ping * 1000:.0f} / {b.ping * 1000:.0f} ms"
        )


def rate(side: list[Pass]) -> float:
    """Take the median of one contender's rows per second."""
    return median(each.rate for each in side)


def mark(*, is_floor: bool, is_aim: bool) -> str:
    """Name the mark that is reached."""
    if not is_floor:
        return "nothing"
    return "aim" if is_aim else "floor"


def show(found: list[Bulk], about: dict[str, object], notes: str) -> None:
    """Print the table."""
    facts = ", ".join(f"{name}: {fact:,}" for name, fact in about.items())
    sheet = Table(title="Rows per second", caption=facts)
    sheet.add_column("work", no_wrap=True)
    for head in HEADS:
        sheet.add_column(head, justify="right", no_wrap=True)
    for bulk in found:
        sheet.add_row(bulk.title, *cells(bulk))
    console = Console(highlight=False)
    console.width = max(console.width, WIDTH)
    console.print(sheet, notes, sep="\n")


def cells(bulk: Bulk) -> Iterator[str]:
    """Write a row of the table."""
    yield from (f"{rate(side):,.0f}" for side in (bulk.psql, bulk.songbook))
    yield from (f"{bulk.ratio:.2f}", f"{bulk.floor:g}", f"{bulk.aim:g}", bulk.reached)
    yield from (f"{max(bulk.growth):+.1f}", bulk.reached_in_memory)
    firsts = [each.first for each in bulk.songbook if each.first is not None]
    yield f"{median(firsts) * 1000:.0f}" if firsts else ""
    yield " / ".join(f"{longest(side) * 1000:.0f}" for side in (bulk.psql, bulk.songbook))


def longest(side: list[Pass]) -> float:
    """Take the longest ping of one contender's turns."""
    return max(each.ping for each in side)


def described(bulk: Bulk) -> dict[str, object]:
    """Write one work as plain values."""
    return bulk._asdict() | {
        "psql": [each._asdict() for each in bulk.psql],
        "songbook": [each._asdict() for each in bulk.songbook],
        "ratio": bulk.ratio,
        "reached": bulk.reached,
        "reached_in_memory": bulk.reached_in_memory,
    }
