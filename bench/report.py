"""What was found: medians, a table for the terminal, JSON for other programs."""

import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import NamedTuple

from contenders import SONGBOOK, TUTORIAL
from rich.console import Console
from rich.table import Table

LIBRARIES = ("asyncpg", "fastapi", "pydantic", "sqlalchemy", "sqlmodel", "uvicorn", "uvloop")
WIDTH = 130  # columns, however narrow the terminal or pipe


class Sample(NamedTuple):
    """One measurement of a server.

    CPU microseconds per request; requests per second; the milliseconds that one answer of a hundred
    exceeded; megabytes of memory afterwards.
    """

    cpu: float
    rate: float
    p99: float
    memory: float


class Finding(NamedTuple):
    """All rounds of one scenario by contender, and the ratios of CPU that are wanted and held."""

    title: str
    floor: float
    aim: float
    held: float
    samples: dict[str, list[Sample]]

    @property
    def ratio(self) -> float:
        """Say how many times less CPU Songbook spends than the tutorial."""
        return middle(self.samples[TUTORIAL.name]).cpu / middle(self.samples[SONGBOOK.name]).cpu

    @property
    def reached(self) -> str:
        """Name the mark that the ratio reaches."""
        if self.ratio < self.floor:
            return "nothing"
        return "aim" if self.ratio >= self.aim else "floor"


def middle(samples: list[Sample]) -> Sample:
    """Take the medians of some rounds."""
    return Sample(*(median(figures) for figures in zip(*samples, strict=True)))


def show(findings: list[Finding], about: dict[str, object], notes: str) -> None:
    """Print the tables."""
    facts = ", ".join(f"{name}: {fact}" for name, fact in about.items())
    names = list(dict.fromkeys(name for finding in findings for name in finding.samples))
    cpu = Table("scenario", title="CPU µs per request", caption=facts)
    rate = Table("scenario", title="requests per second; p99 in ms")
    for head in (*names, "ratio", "floor", "aim", "reached"):
        cpu.add_column(head, justify="right")
    for head in names:
        rate.add_column(head, justify="right")
    for finding in findings:
        found = {name: middle(samples) for name, samples in finding.samples.items()}
        figures = [f"{found[name].cpu:,.0f}" if name in found else "-" for name in names]
        marks = (f"{finding.ratio:.2f}", f"{finding.floor:g}", f"{finding.aim:g}", finding.reached)
        cpu.add_row(finding.title, *figures, *marks)
        shown = {name: f"{each.rate:,.0f}; {each.p99:,.0f}" for name, each in found.items()}
        rate.add_row(finding.title, *(shown.get(name, "-") for name in names))
    console = Console(highlight=False)
    console.width = max(console.width, WIDTH)
    console.print(cpu, rate, notes, sep="\n")


def surroundings() -> dict[str, object]:
    """Say when, and on what, it is measured."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpus": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {"python": platform.python_version()} | {n: version(n) for n in LIBRARIES},
    }


def write(path: Path, measured: dict[str, object], about: dict[str, object]) -> None:
    """Store everything that was measured, and on what."""
    report = surroundings() | about | {"scenarios": measured}
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def described(finding: Finding) -> dict[str, object]:
    """Write one finding as plain values."""
    samples = {name: sides(samples) for name, samples in finding.samples.items()}
    return finding._asdict() | {
        "samples": samples,
        "ratio": finding.ratio,
        "reached": finding.reached,
    }


def sides(samples: list[Sample]) -> dict[str, object]:
    """Write one contender's medians and rounds."""
    return middle(samples)._asdict() | {"rounds": [sample._asdict() for sample in samples]}
