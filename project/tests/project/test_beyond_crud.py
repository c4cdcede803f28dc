"""The code of docs/beyond-crud.md does what the document shows."""

from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from tests.support.documents import different_answers
from tests.support.marks import slow
from tests.support.paths import ROOT

pytestmark = pytest.mark.processes

DOCUMENT = ROOT / "docs" / "beyond-crud.md"


@slow
def test_the_code_of_the_document_answers_as_it_shows(tmp_path: Path, migrated_url: URL) -> None:
    modules = ("orders", "corrections", "memos", "files")

    assert different_answers(DOCUMENT, tmp_path, migrated_url, *modules) == 0
