"""Writes what the last run of the abuse found into docs/reliability.md, as a table."""

import json
import re
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE = DOCS / "reliability.md"
FIGURES = DOCS / "reliability" / "abuse.json"
HEADS = ["attack", "answered %", "p50 ms", "p99 ms", "growth MB"]


def table(report: dict[str, Any]) -> str:
    """Return the table in Markdown."""
    rows = [HEADS, ["---", *["---:"] * (len(HEADS) - 1)]]
    for each in report["attacks"].values():
        figures = [f"{each[name]:,.0f}" for name in ("p50", "p99", "growth")]
        rows.append([each["title"], f"{each['answered']:.1f}", *figures])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in rows)


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
    """Write it, unless the run left something out."""
    report = json.loads(FIGURES.read_text(encoding="utf-8"))
    if not report["is_whole"]:
        sys.exit("Only a run of all cases and attacks is published in docs/reliability.md.")
    about = (
        f"{report['date'][:10]}, {report['system']}, {report['cpus']} cores, Python "
        f"{report['python']}; {report['seconds']:g} s each, the attackers on the same machine. "
        f"{report['cases']:,} hostile requests, {report['failed']} failures."
    )
    put("abuse", about, table(report))


if __name__ == "__main__":
    main()
