"""Measure what metrics, access log and traces cost, each against none of them, in one run.

Messages of the log cost nothing here: a request that succeeds writes none.
"""

import json
import statistics
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from contenders import ADDRESS, PRODUCTION, PROJECT
from database import prepared
from measure import bounded, sample, tell, warm_up
from scenarios import SCENARIOS
from servers import Server, running
from sheets import Rows, markdown, put

COUNTING = [sys.executable, "-m", "app"]
NOT_COUNTING = [sys.executable, str(Path(__file__).with_name("uncounted.py"))]
VARIANTS = {
    "nothing": (NOT_COUNTING, {"ACCESS_LOG": "false"}),
    "metrics": (COUNTING, {"ACCESS_LOG": "false"}),
    "access log": (NOT_COUNTING, {"ACCESS_LOG": "true"}),
    "both": (COUNTING, {"ACCESS_LOG": "true"}),
}
"""How each is started; production has the second."""

SHOWN = ("one", "list", "create")


@contextmanager
def variants() -> Iterator[list[Server]]:
    """Run all of them on one database."""
    with ExitStack() as stack:
        url = stack.enter_context(prepared(PROJECT))
        yield [
            stack.enter_context(
                running(
                    name,
                    [*command, "serve", *ADDRESS],
                    PROJECT,
                    {"DATABASE_URL": url, **PRODUCTION, **settings},
                )
            )
            for name, (command, settings) in VARIANTS.items()
        ]


def costs(name: str, servers: list[Server], rounds: int, seconds: int) -> dict[str, list[float]]:
    """Return the CPU per request of each variant, in microseconds, by round."""
    works = [(server, SCENARIOS[name].work(server)) for server in servers]
    taken: dict[str, list[float]] = {server.name: [] for server in servers}
    for server, work in works:
        warm_up(server, work)
    for number in range(1, rounds + 1):
        for server, work in works:
            taken[server.name].append(sample(server, work, seconds).cpu)
        works.append(works.pop(0))
        told = " / ".join(f"{each[-1]:.1f}" for each in taken.values())
        tell(f"{SCENARIOS[name].title}, round {number}: {told}")
    return taken


def table(found: dict[str, dict[str, list[float]]]) -> Rows:
    """Return the medians, and of the others the median of the ratios of each round."""
    rows = [["CPU µs per request", *VARIANTS]]
    for name, taken in found.items():
        base = taken["nothing"]
        cells = [f"{statistics.median(base):.1f}"]
        for variant in list(VARIANTS)[1:]:
            ratios = [after / before for before, after in zip(base, taken[variant], strict=True)]
            more = (statistics.median(ratios) - 1) * 100
            cells.append(f"{statistics.median(taken[variant]):.1f} ({more:+.1f} %)")
        rows.append([SCENARIOS[name].title, *cells])
    return rows


def main() -> None:
    """Measure, show and store."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=bounded, default=15, help="turns of each variant")
    parser.add_argument("--seconds", type=bounded, default=2, help="length of one measurement")
    parser.add_argument("--json", type=Path, metavar="FILE", help="store them, and publish them")
    options = parser.parse_args()
    with variants() as servers:
        found = {name: costs(name, servers, options.rounds, options.seconds) for name in SHOWN}
    shown = markdown(table(found))
    print(shown)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        put("observed", shown)


if __name__ == "__main__":
    main()
