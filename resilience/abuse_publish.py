"""Writes what the last run of the abuse found into docs/reliability.md, as a table."""

import json
import sys
from typing import Any

from sheets import DOCS, markdown, put

PAGE = DOCS / "reliability.md"
FIGURES = DOCS / "reliability" / "abuse.json"
HEADS = ["attack", "answered %", "p50 ms", "p99 ms", "growth MB"]


def table(report: dict[str, Any]) -> str:
    """Return the table in Markdown."""
    rows = [HEADS]
    for each in report["attacks"].values():
        figures = [f"{each[name]:,.0f}" for name in ("p50", "p99", "growth")]
        rows.append([each["title"], f"{each['answered']:.1f}", *figures])
    return markdown(rows)


def main() -> None:
    """Write it, unless the run left something out."""
    report = json.loads(FIGURES.read_text(encoding="utf-8"))
    if not report["is_whole"]:
        sys.exit("Only a run of all cases and attacks is published in docs/reliability.md.")
    about = (
        f"{report['date'][:10]}, {report['system']}, {report['cpus']} cores, Python "
        f"{report['python']}; {report['seconds']:g} s each, the attackers on the same machine. "
        f"{report['cases']:,} hostile requests, {report['failed']} failures."
    )
    put("abuse", about, table(report), page=PAGE)


if __name__ == "__main__":
    main()
