"""What a run of rounds found: a table for the terminal, and JSON."""

import json
import os
import platform
from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

WIDTH = 150  # columns, however narrow the terminal or pipe


@dataclass
class Finding:
    """What one round found."""

    title: str
    requests: int
    acknowledged: int
    """Writes that were acknowledged."""
    lost: int
    doubled: int
    contradictions: int
    """All others: phantom, resurrected, wrong ids, stale reads, lost updates."""
    refused: int
    """Requests that were definitely not executed: 503 with Retry-After, or no connection."""
    unknown: int
    """Creates whose outcome is unknown."""
    unknown_stored: int
    """How many of these are stored."""
    replays: int
    recovery: float | None
    """Seconds from the end of the fault to the first acknowledged write."""
    longest: float
    """Seconds that a request took at most."""
    slowest_probe: float
    """Seconds that a liveness check took at most."""
    notes: list[str] = field(default_factory=list)
    breaches: list[str] = field(default_factory=list)


def total(findings: list[Finding]) -> Finding:
    """Return the sums of all rounds, and the maximum of what is no number of requests."""
    sums: Counter[str] = Counter()
    for finding in findings:
        sums.update({name: n for name, n in asdict(finding).items() if isinstance(n, int)})
    return Finding(
        title="all rounds",
        recovery=max((each.recovery or 0 for each in findings), default=0),
        longest=max((each.longest for each in findings), default=0),
        slowest_probe=max((each.slowest_probe for each in findings), default=0),
        breaches=[breach for each in findings for breach in each.breaches],
        **sums,
    )


HEADS = (
    *("fault", "requests", "acknowledged writes", "lost", "doubled", "contradictions", "refused"),
    *("unknown (stored)", "replayed", "recovery", "longest request"),
)


def cells(finding: Finding) -> list[str]:
    """Return a row of the table."""
    recovery = "-" if finding.recovery is None else f"{finding.recovery:.2f} s"
    numbers = (finding.requests, finding.acknowledged, finding.lost, finding.doubled)
    return [
        finding.title,
        *(f"{number:,}" for number in (*numbers, finding.contradictions, finding.refused)),
        f"{finding.unknown:,} ({finding.unknown_stored:,})",
        f"{finding.replays:,}",
        recovery,
        f"{finding.longest:.1f} s",
    ]


def show(findings: list[Finding], skipped: dict[str, str], console: Console) -> None:
    """Print the table, and what is wrong."""
    table = Table(HEADS[0])
    for head in HEADS[1:]:
        table.add_column(head, justify="right")
    for finding in findings:
        style = "red" if finding.breaches else None
        table.add_row(*cells(finding), style=style)
    table.add_section()
    table.add_row(*cells(total(findings)))
    console.print(table)
    for title, obstacle in skipped.items():
        console.print(f"Left out: {title}, because {obstacle}.")


def write(
    path: Path, findings: list[Finding], skipped: dict[str, str], about: dict[str, object]
) -> None:
    """Store everything that was found, and on what."""
    report = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpus": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **about,
        "skipped": skipped,
        "rounds": [asdict(finding) for finding in findings],
        "total": asdict(total(findings)),
    }
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
