"""What was found: medians, a table for the terminal, JSON for other programs."""

import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

LIBRARIES = ("asyncpg", "fastapi", "pydantic", "sqlalchemy", "sqlmodel", "uvicorn", "uvloop")
HEADS = ("tutorial µs", "req/s", "Songbook µs", "req/s", "ratio", "floor", "aim", "reached")
WIDTH = 110  # columns, however narrow the terminal or pipe


class Sample(NamedTuple):
    """One measurement: CPU microseconds per request, and requests per second."""

    cpu: float
    rate: float


class Finding(NamedTuple):
    """All rounds of one scenario, and the ratios of CPU that are wanted."""

    title: str
    floor: float
    aim: float
    tutorial: list[Sample]
    songbook: list[Sample]

    @property
    def ratio(self) -> float:
        """Say how many times less CPU Songbook spends."""
        return middle(self.tutorial).cpu / middle(self.songbook).cpu

    @property
    def reached(self) -> str:
        """Name the mark that the ratio reaches."""
        if self.ratio < self.floor:
            return "nothing"
        return "aim" if self.ratio >= self.aim else "floor"


def middle(samples: list[Sample]) -> Sample:
    """Take the medians of some rounds."""
    return Sample(median(s.cpu for s in samples), median(s.rate for s in samples))


def show(findings: list[Finding], about: dict[str, object], notes: str) -> None:
    """Print the table."""
    facts = ", ".join(f"{name}: {fact}" for name, fact in about.items())
    sheet = Table(title="CPU per request and requests per second", caption=facts)
    sheet.add_column("scenario")
    for head in HEADS:
        sheet.add_column(head, justify="right")
    for finding in findings:
        a, b = middle(finding.tutorial), middle(finding.songbook)
        figures = (f"{figure:,.0f}" for figure in (*a, *b))
        marks = (f"{finding.ratio:.2f}", f"{finding.floor:g}", f"{finding.aim:g}")
        sheet.add_row(finding.title, *figures, *marks, finding.reached)
    console = Console(highlight=False)
    console.width = max(console.width, WIDTH)
    console.print(sheet, notes, sep="\n")


def write(path: Path, measured: dict[str, object], about: dict[str, object]) -> None:
    """Store everything that was measured, and on what."""
    where: dict[str, object] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpus": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {"python": platform.python_version()} | {n: version(n) for n in LIBRARIES},
    }
    report = where | about | {"scenarios": measured}
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def described(finding: Finding) -> dict[str, object]:
    """Write one finding as plain values."""
    return finding._asdict() | {
        "tutorial": sides(finding.tutorial),
        "songbook": sides(finding.songbook),
        "ratio": finding.ratio,
        "reached": finding.reached,
    }


def sides(samples: list[Sample]) -> dict[str, object]:
    """Write one contender's medians and rounds."""
    return middle(samples)._asdict() | {"rounds": [sample._asdict() for sample in samples]}
