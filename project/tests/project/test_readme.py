"""What the README and the other documents tell people to type works."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from app.__main__ import cli
from tests.support.marks import slow
from tests.support.paths import ROOT
from tests.support.waiting import PATIENCE

DOCUMENTS = sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.md")})


@slow
@pytest.mark.processes
def test_the_session_in_the_readme_is_what_the_service_answers() -> None:
    for name in ("cities", "playlists", "todos"):
        pytest.importorskip(f"app.resources.{name}", reason=f"the session is of {name}, too")
    demo = [sys.executable, str(ROOT / "examples" / "demo.py")]
    done = subprocess.run(demo, capture_output=True, text=True, timeout=PATIENCE, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("$ curl") >= 7


def test_the_documents_name_no_make_target_that_is_not_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        target
        for document in DOCUMENTS
        for target in re.findall(r"(?:`|^    )make ([a-z-]+)", document.read_text(), re.MULTILINE)
    }

    assert {"run", "test", "install", "check", "demo"} <= named
    assert named <= targets


def test_the_documents_name_no_command_that_is_not_there() -> None:
    group = get_command(cli)
    assert isinstance(group, TyperGroup)
    commands = set(group.commands)
    named = {
        command
        for document in DOCUMENTS
        for command in re.findall(r"python -m app ([a-z-]+)", document.read_text())
    }

    assert {"serve", "seed", "psql", "import"} <= named
    assert named <= commands


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_document_links_to_no_file_that_is_not_there(document: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", document.read_text())

    assert [link for link in links if not (document.parent / link).exists()] == []


def anchors(document: Path) -> set[str]:
    """Return the anchors of the headings of a document, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_document_links_to_no_heading_that_is_not_there(document: Path) -> None:
    links = re.findall(r"\]\(([^)#:\s]*)#([^)\s]+)\)", document.read_text())
    linked = [(document.parent / name if name else document, anchor) for name, anchor in links]

    assert [
        anchor for path, anchor in linked if path.suffix == ".md" and anchor not in anchors(path)
    ] == []


def test_the_map_of_the_code_names_modules_that_are_there() -> None:
    start, end = readme().index("    project/app/"), readme().index("    docs/adr/")
    places: list[Path] = []
    folder = ROOT
    for line in readme()[start:end].splitlines():
        names = re.findall(r"[\w/]+(?:/|\.py)(?= |$)", line[:34])
        if line.startswith("    project/"):
            folder = ROOT / names[0]
        places += [folder / name for name in names if not line.startswith("    project/")]
        places.append(folder)

    assert len(places) > 15
    assert [place for place in places if not place.exists()] == []


def test_the_code_of_the_readme_is_that_of_the_songs() -> None:
    songs = (ROOT / "project" / "app" / "resources" / "songs.py").read_text()
    assert re.findall(r"^```python\n(.*?)^```$", readme(), re.DOTALL | re.MULTILINE) == [songs]
    assert len(songs.splitlines()) < 90


def test_the_figures_of_the_readme_are_those_that_were_measured() -> None:
    measured = (ROOT / "docs" / "speed.md").read_text()
    [costs] = re.findall(r"^\| list, 100 rows \|(.*?)\*\*", measured, re.MULTILINE)[:1]
    tutorial, _, _, fastify, _, ours, _ = re.findall(r"[\d,]+(?= \()|$", costs)

    for name, figure in (("costs", ours), ("pg", f"({fastify}"), ("alone", f"({tutorial}")):
        assert re.search(rf"{name} {re.escape(figure)} µs", " ".join(readme().split()))


def readme() -> str:
    return (ROOT / "README.md").read_text()
