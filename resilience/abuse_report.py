"""What was found: a table for the terminal, JSON for other programs."""

import json
import os
import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from abuse_attacks import Result
from abuse_bounds import Bounds
from rich.console import Console
from rich.table import Table

WIDTH = 130  # columns, however narrow the terminal or pipe


def show(results: dict[str, Result], about: dict[str, Any], bounds: Bounds) -> None:
    """Print the tables."""
    limits = (
        f"at least {bounds.answered:g} % within {bounds.patience:g} s, p99 at most"
        f" {bounds.p99:g} ms, growth at most {bounds.growth:g} MB"
    )
    sheet = Table(title="A bystander during attacks", caption=limits)
    for head in ("attack", "asked", "answered %", "p50 ms", "p99 ms", "growth MB", ""):
        sheet.add_column(head, justify="left" if head == "attack" else "right")
    sheet.add_column("what it achieved")
    for name, each in results.items():
        verdict = "[red]broken[/]" if each.failures else "held"
        achieved = ", ".join(f"{what}: {number:,}" for what, number in each.achieved.items())
        sheet.add_row(name, *cells(each), verdict, achieved)
    console = Console(highlight=False)
    console.width = max(console.width, WIDTH)
    if results:
        console.print(sheet)
    if about["cases"]:
        console.print(f"{about['cases']:,} hostile cases, {about['failed']} of them failed.")


def cells(result: Result) -> Iterable[str]:
    """Write the figures of an attack."""
    yield f"{result.asked:,}"
    yield f"{result.answered:.1f}"
    yield from (f"{each:,.0f}" for each in (result.p50, result.p99, result.growth))


def surroundings() -> dict[str, Any]:
    """Say when, and on what, it was."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
    }


def write(path: Path, results: dict[str, Result], about: dict[str, Any]) -> None:
    """Store everything."""
    attacks = {name: each._asdict() for name, each in results.items()}
    report = surroundings() | about | {"attacks": attacks}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
