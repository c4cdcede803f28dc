"""Writes what the last run of all faults found into docs/reliability.md, as a table."""

import json
import re
import sys
from pathlib import Path
from typing import Any

from faults_report import HEADS, Finding, cells

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE = DOCS / "reliability.md"
FIGURES = DOCS / "reliability" / "faults.json"


def table(report: dict[str, Any]) -> str:
    """Return the table in Markdown."""
    findings = [Finding(**each) for each in (*report["rounds"], report["total"])]
    rows = [list(HEADS), ["---", *["---:"] * (len(HEADS) - 1)], *map(cells, findings)]
    rows[-1] = [f"**{cell}**" for cell in rows[-1]]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def notes(report: dict[str, Any]) -> str:
    """Return what the rounds noted, and which were left out."""
    noted = [
        f"{each['title']}: {', '.join(each['notes'])}" for each in report["rounds"] if each["notes"]
    ]
    noted += [f"{title} was left out: {why}" for title, why in report["skipped"].items()]
    return "\n".join(f"- {each}." for each in noted)


def put(name: str, *blocks: str) -> None:
    """Write the blocks between the marks of this name, in place of what is there."""
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    marked = re.compile(f"{re.escape(begin)}.*{re.escape(end)}", re.DOTALL)
    page = PAGE.read_text(encoding="utf-8")
    if not marked.search(page):
        raise SystemExit(f"{PAGE} has no line {begin.strip()}, or no {end} behind it: add them.")
    written = begin + "\n\n".join(blocks) + "\n" + end
    PAGE.write_text(marked.sub(lambda _: written, page), encoding="utf-8")


def main() -> None:
    """Write it, unless the run left rounds out."""
    report = json.loads(FIGURES.read_text(encoding="utf-8"))
    if not report["is_whole"]:
        sys.exit("Only a run of all rounds is published in docs/reliability.md.")
    about = (
        f"{report['date'][:10]}, {report['system']}, {report['cpus']} cores, Python "
        f"{report['python']}, {report['seconds'] / 60:.0f} minutes, everything on one machine."
    )
    put("faults", about, table(report), notes(report))


if __name__ == "__main__":
    main()
