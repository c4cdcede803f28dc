"""Faults against the real service and a real PostgreSQL, under load; the histories are checked.

An acknowledged write is stored once, what was refused is not stored, nothing is answered 500, no
request takes longer than 10 s, and the service recovers by itself.
"""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path

import uvloop
from cluster import PROJECT, ROLE, Cluster
from faults_bounds import PROMISED
from faults_bounds import QUICK as LENIENT
from faults_play import play
from faults_report import Finding, show, total, write
from faults_rounds import QUICK, ROUNDS
from faults_stage import Sabotage
from rich.console import Console

QUICK_PACE = 0.3
QUICKLY = f"only {', '.join(QUICK)}, and short; seconds are not judged: the machine may be slow"
NOTHING = Sabotage("")

console = Console(highlight=False)
console.width = max(console.width, 150)


async def run(options: Namespace) -> tuple[list[Finding], dict[str, str]]:
    """Play the rounds on a cluster of their own; return what they found and which were left out."""
    findings, skipped = [], {}
    task = asyncio.current_task()
    assert task
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    pace = QUICK_PACE if options.quick or options.sabotage else 1.0
    bounds = LENIENT if options.quick else PROMISED
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(Path(folder), options.project.resolve())
        try:
            await prepare(cluster)
            for name in chosen(options):
                each = ROUNDS[name]
                if obstacle := each.obstacle():
                    skipped[each.title] = obstacle
                    continue
                for sabotage in each.sabotages if options.sabotage else (NOTHING,):
                    with console.status(each.title):
                        found = await play(cluster, name, pace, bounds, sabotage)
                    if sabotage.title:
                        found.title += f": {sabotage.title}"
                    tell(found)
                    findings.append(found)
        finally:
            await asyncio.to_thread(cluster.stop)
    return findings, skipped


def chosen(options: Namespace) -> list[str]:
    """Return the names of the rounds."""
    names = options.only or (QUICK if options.quick else ROUNDS)
    return [name for name in names if ROUNDS[name].sabotages or not options.sabotage]


async def prepare(cluster: Cluster) -> None:
    """Start the cluster, with its role and its tables."""
    await asyncio.to_thread(cluster.start)
    await cluster.execute(*ROLE)
    command = [sys.executable, "-m", "app", "migrate"]
    environment = os.environ | {"DATABASE_URL": cluster.url(), "ENV_FILE": "/dev/null"}
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=cluster.project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise SystemExit(f"`python -m app migrate` failed:\n{output.decode()[-3000:]}")


def tell(found: Finding) -> None:
    """Show at once how a round went."""
    mark = "[red]broken[/]" if found.breaches else "[green]kept[/]"
    recovery = "-" if found.recovery is None else f"{found.recovery:.2f} s"
    console.print(
        f"{mark} {found.title}: {found.acknowledged:,} acknowledged,"
        f" {found.lost} lost, {found.doubled} doubled; recovery {recovery},"
        f" longest {found.longest:.1f} s {'; '.join(found.notes)}"
    )
    for breach in found.breaches:
        console.print(f"  - {breach}", markup=False)


def arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help=QUICKLY)
    parser.add_argument(
        "--sabotage", action="store_true", help="break promises on purpose: rounds must fail"
    )
    names = ", ".join(ROUNDS)
    parser.add_argument("--only", action="append", choices=ROUNDS, metavar="NAME", help=names)
    parser.add_argument("--json", type=Path, metavar="FILE", help="store the findings there too")
    parser.add_argument("--project", type=Path, default=PROJECT, metavar="DIR")
    return parser.parse_args()


def main() -> None:
    """Play, show, store and judge."""
    options = arguments()
    began = time.monotonic()
    findings, skipped = uvloop.run(run(options))
    show(findings, skipped, console)
    sums, seconds = total(findings), time.monotonic() - began
    if options.json:
        is_whole = not (options.only or options.quick or options.sabotage)
        write(options.json, findings, skipped, {"is_whole": is_whole, "seconds": round(seconds)})
    if options.sabotage:
        blind = [each.title for each in findings if not each.breaches]
        if blind:
            sys.exit(f"Not noticed although a promise was broken on purpose: {'; '.join(blind)}.")
        console.print(f"Each sabotage was noticed, in {seconds:.0f} s.")
    elif sums.breaches:
        sys.exit(f"{len(sums.breaches)} promises were broken: see above.")
    else:
        console.print(f"Every promise was kept, in {seconds:.0f} s.")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except asyncio.CancelledError:
        sys.exit(143)
