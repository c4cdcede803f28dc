"""What is written into docs/speed.md: tables, between two marks of their own."""

import re
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE = DOCS / "speed.md"

Rows = list[list[str]]


def markdown(rows: Rows) -> str:
    """Write rows as a table whose first row is its head."""
    head, *others = rows
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *others))


def put(name: str, *blocks: str) -> None:
    """Write the blocks between the marks of this name, in place of what is there."""
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    marked = re.compile(f"{re.escape(begin)}.*{re.escape(end)}", re.DOTALL)
    page = PAGE.read_text(encoding="utf-8")
    if not marked.search(page):
        raise SystemExit(f"{PAGE} has no line {begin.strip()}, or no {end} behind it: add them.")
    written = begin + "\n\n".join(blocks) + "\n" + end
    PAGE.write_text(marked.sub(lambda _: written, page), encoding="utf-8")
