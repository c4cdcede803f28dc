"""Abuse the service: hostile requests, then attacks while a bystander asks for a song."""

import asyncio
import os
import signal
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import NamedTuple

import asyncpg
import attacks_connections
import attacks_database
import uvloop
from abuse_attacks import Result, largest, run_attack
from abuse_bounds import PROMISED, QUICK, Bounds
from abuse_cases import run_cases
from abuse_report import show, write
from abuse_service import PASSWORD, PROJECT, cluster, command, leaks, serving
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

ATTACKS = {each.name: each for each in attacks_connections.ATTACKS + attacks_database.ATTACKS}
QUICK_SECONDS = 3
BUSY = 1.5  # load average, of other programs
SHOWN = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())


class Run(NamedTuple):
    """One run: its options, its database, the log of its services, and where progress is shown."""

    options: Namespace
    url: str
    log: Path
    settings: dict[str, str]
    bounds: Bounds
    progress: Progress

    def tell(self, line: str) -> None:
        """Show progress at once, into a file or pipe too."""
        self.progress.console.print(
            line, highlight=False, soft_wrap=True, markup=False, emoji=False
        )
        sys.stdout.flush()


def cases(run: Run) -> tuple[int, list[str]]:
    """Run the hostile cases."""
    command(
        run.options.project, run.url, "create-superuser", "ada", "ada@example.org", given=PASSWORD
    )
    task = run.progress.add_task("cases", total=None)

    def advance(_: str) -> None:
        run.progress.advance(task)

    with serving(run.options.project, run.url, run.log, run.settings) as service:
        number, failures = uvloop.run(run_cases(service, run.url, run.bounds, advance))
    run.progress.update(task, total=number)
    for failure in failures:
        run.tell(f"  broken: {failure}")
    run.tell(f"{number:,} hostile cases: {len(failures)} failures")
    return number, failures


def attack_all(run: Run, names: list[str]) -> dict[str, Result]:
    """Run the attacks."""
    task = run.progress.add_task("attacks", total=len(names))
    asyncio.run(execute(run.url, attacks_database.FILL, "VACUUM ANALYZE"))
    results = {}
    for name in names:
        run.progress.update(task, description=name)
        with serving(run.options.project, run.url, run.log, run.settings) as service:
            attacked = run_attack(ATTACKS[name], service, run.options.seconds, run.bounds)
            result = uvloop.run(attacked)
        asyncio.run(execute(run.url, attacks_database.QUIET))
        results[name] = result
        run.progress.advance(task)
        run.tell(
            f"{name}: {result.answered:.1f} % answered, p99 {result.p99:.0f} ms, "
            f"{result.growth:+.0f} MB"
        )
        for failure in result.failures:
            run.tell(f"  broken: {failure}")
    return results


async def execute(url: str, *statements: str) -> None:
    """Execute statements, each in a transaction of its own."""
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


def arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20, help="length of an attack")
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"attacks of {QUICK_SECONDS} s; latencies are not judged: the machine may be slow",
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=["cases", *ATTACKS],
        metavar="NAME",
        help=f"cases, {', '.join(ATTACKS)}",
    )
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        metavar="SETTING",
        help="give a bound its largest value: the run has to fail",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="store the figures there too")
    parser.add_argument("--project", type=Path, default=PROJECT, metavar="DIR")
    return parser.parse_args()


def main() -> None:
    """Run, show and store; exit with 1 if a promise was broken."""
    options = arguments()
    options.project = options.project.resolve()
    if options.quick:
        options.seconds = QUICK_SECONDS
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    bounds = QUICK if options.quick else PROMISED
    settings = {name: largest(options.project, name) for name in options.without}
    names = options.only or ["cases", *ATTACKS]
    number, failures, results = 0, [], {}
    with (
        Progress(*SHOWN, disable=not sys.stdout.isatty()) as progress,
        tempfile.TemporaryDirectory() as folder,
        cluster(options.project) as url,
    ):
        run = Run(options, url, Path(folder, "log"), settings, bounds, progress)
        if (load := os.getloadavg()[0]) > BUSY:
            run.tell(f"The machine is busy (load {load:.1f}): latencies say little.")
        if "cases" in names:
            number, failures = cases(run)
        if attacks := [name for name in names if name in ATTACKS]:
            results = attack_all(run, attacks)
        for leak in leaks(run.log):
            failures.append(leak)
            run.tell(f"  broken: {leak}")
    about = {"cases": number, "failed": len(failures), "seconds": options.seconds}
    about["is_whole"] = not (options.only or options.without or options.quick)
    show(results, about, bounds)
    if options.json:
        write(options.json, results, about)
    broken = len(failures) + sum(len(each.failures) for each in results.values())
    if broken:
        raise SystemExit(f"{broken} promises are broken: see the lines above.")
    print("Every promise is held.")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
