"""The code of docs/fields.md does what the document shows, and what it says is refused is."""

import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import pytest
from sqlalchemy import JSON
from sqlalchemy.engine import URL
from sqlmodel import Field

from songbook.models import Schema
from tests.support.documents import different_answers
from tests.support.marks import slow
from tests.support.paths import ROOT

DOCUMENT = ROOT / "docs" / "fields.md"
REFUSED = re.findall(r"^\| `(\w+: .*)` \| `(SongBase\..*)` \|$", DOCUMENT.read_text(), re.MULTILINE)
NAMES = {each.__name__: each for each in (Decimal, Field, JSON, Schema, timedelta)} | {
    "Any": Any,
    "Literal": Literal,
}


@slow
@pytest.mark.processes
def test_the_resource_of_the_document_answers_as_it_shows(
    tmp_path: Path, migrated_url: URL
) -> None:
    assert different_answers(DOCUMENT, tmp_path, migrated_url, "albums") == 0


@pytest.mark.parametrize(("line", "message"), REFUSED, ids=[line for line, _ in REFUSED])
def test_a_field_is_refused_with_the_message_in_the_document(line: str, message: str) -> None:
    written = f"class SongBase(Schema):\n    {line}".replace(r"\|", "|")

    with pytest.raises(TypeError) as refused:
        exec(written, {**NAMES, "__name__": __name__})

    start = message.replace(r"\|", "|").removesuffix("…")
    assert str(refused.value).startswith(start)
    assert message.endswith("…") or str(refused.value) == start


def test_the_document_has_lines_that_are_refused() -> None:
    assert len(REFUSED) == 10
