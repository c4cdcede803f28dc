"""Writes what the last run of all faults found into docs/reliability.md, as a table."""

import json
import sys
from typing import Any

from faults_report import HEADS, Finding, cells
from sheets import DOCS, markdown, put

PAGE = DOCS / "reliability.md"
FIGURES = DOCS / "reliability" / "faults.json"


def table(report: dict[str, Any]) -> str:
    """Return the table in Markdown."""
    findings = [Finding(**each) for each in (*report["rounds"], report["total"])]
    rows = [list(HEADS), *map(cells, findings)]
    rows[-1] = [f"**{cell}**" for cell in rows[-1]]
    return markdown(rows)


def notes(report: dict[str, Any]) -> str:
    """Return what the rounds noted, and which were left out."""
    noted = [
        f"{each['title']}: {', '.join(each['notes'])}" for each in report["rounds"] if each["notes"]
    ]
    noted += [f"{title} was left out: {why}" for title, why in report["skipped"].items()]
    return "\n".join(f"- {each}." for each in noted)


def main() -> None:
    """Write it, unless the run left rounds out."""
    report = json.loads(FIGURES.read_text(encoding="utf-8"))
    if not report["is_whole"]:
        sys.exit("Only a run of all rounds is published in docs/reliability.md.")
    about = (
        f"{report['date'][:10]}, {report['system']}, {report['cpus']} cores, Python "
        f"{report['python']}, {report['seconds'] / 60:.0f} minutes, everything on one machine."
    )
    put("faults", about, table(report), notes(report), page=PAGE)


if __name__ == "__main__":
    main()
