"""What benchmarks in one process share: variants in turns, medians of ratios, and the command."""

import json
import os
import statistics
from argparse import ArgumentParser
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import uvloop
from contenders import PRODUCTION, PROJECT
from database import prepared
from sheets import Rows, markdown, put

Taken = dict[str, dict[str, list[float]]]
"""The CPU per request, in microseconds, of each scenario and variant, by round."""


def turn_of(variants: Sequence[str], number: int) -> list[str]:
    """Return the variants in the order of a round: each is as often the first as the others."""
    turn = number % len(variants)
    return [*variants[turn:], *variants[:turn]]


def compared(
    title: str, found: Taken, first: Callable[[float], str], other: Callable[[float, float], str]
) -> Rows:
    """Return a table of the variants.

    `first` writes the median of the first variant, `other` that of another and the median of its
    ratios to the first in each round.
    """
    rows = [[title, *next(iter(found.values()))]]
    for name, taken in found.items():
        base, *others = taken.values()
        cells = [first(statistics.median(base))]
        for each in others:
            ratios = [after / before for before, after in zip(base, each, strict=True)]
            cells.append(other(statistics.median(each), statistics.median(ratios)))
        rows.append([name, *cells])
    return rows


def run(
    name: str,
    description: str | None,
    measured: Callable[[int], Awaitable[Taken]],
    table: Callable[[Taken], Rows],
    *,
    rounds: int,
    digits: int,
) -> None:
    """Measure, show and store: the command of the benchmark `name`."""
    parser = ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=rounds, help="turns of each variant")
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
            scenario: {each: round(statistics.median(of), digits) for each, of in taken.items()}
            for scenario, taken in found.items()
        }
        file.write_text(json.dumps(medians, indent=1) + "\n", encoding="utf-8")
        put(name, shown)
