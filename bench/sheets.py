"""What is written into a page of docs: tables, between two marks of their own."""

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


def put(name: str, *blocks: str, page: Path = PAGE) -> None:
    """Write the blocks between the marks of this name, in place of what is there."""
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    marked = re.compile(f"{re.escape(begin)}.*{re.escape(end)}", re.DOTALL)
    text = page.read_text(encoding="utf-8")
    if not marked.search(text):
        raise SystemExit(f"{page} has no line {begin.strip()}, or no {end} behind it: add them.")
    written = begin + "\n\n".join(blocks) + "\n" + end
    page.write_text(marked.sub(lambda _: written, text), encoding="utf-8")
