"""`python -m … export RESOURCE [FILE]`: a file that is complete, or none."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from tests.samples.resources import modules
from tests.support.databases import execute, spelled
from tests.support.marks import slow
from tests.support.paths import PROJECT
from tests.support.processes import Outcome
from tests.support.services import SAMPLES

pytestmark = pytest.mark.long

BOOKS = (
    "INSERT INTO book (name, author, year) VALUES ('Hurt', 'Johnny Cash', 2002),"
    " ('a\nb', '\"Beck\", é 🎸', NULL), ('=1', 'c', 1994)"
)
HEADER = "id,name,author,year\n"
WHOLE = HEADER + '1,Hurt,Johnny Cash,2002\n2,"a\nb","""Beck"", é 🎸",\n3,=1,c,1994\n'

Export = Callable[..., Outcome]


@pytest.fixture
def books(database_url: URL) -> URL:
    """Give the URL of a database with three books."""
    execute(database_url, "TRUNCATE book, towns, novel, members RESTART IDENTITY CASCADE", BOOKS)
    return database_url


@pytest.fixture
def export(books: URL, command: Callable[..., Outcome]) -> Export:
    """Give the command that exports from that database."""

    def run(*arguments: str | Path, **environment: str) -> Outcome:
        given = {"DATABASE_URL": spelled(books), **environment}
        return command("export", *map(str, arguments), **given)

    return run


def run(url: URL, *arguments: str, stdin: int | None = None) -> "subprocess.Popen[bytes]":
    """Start the command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", SAMPLES.package, *arguments],
        cwd=PROJECT,
        env={**os.environ, "DATABASE_URL": spelled(url)},
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_the_rows_are_written_to_the_file_and_the_report_is_printed(
    export: Export, tmp_path: Path
) -> None:
    file = tmp_path / "books.csv"
    outcome = export("books", file)

    assert (outcome.code, outcome.told) == (0, [])
    assert re.fullmatch(r"3 books exported in \d+\.\d s\.\n", outcome.printed)
    assert file.read_bytes().decode() == WHOLE
    assert [*tmp_path.iterdir()] == [file]


def test_without_a_file_the_rows_are_printed_and_the_report_told(export: Export) -> None:
    outcome = export("books")

    assert (outcome.code, outcome.printed) == (0, WHOLE)
    assert len(outcome.told) == 1
    assert re.fullmatch(r"3 books exported in \d+\.\d s\.", outcome.told[0])


@pytest.mark.parametrize("name", ["books.ndjson", "books.JSONL", "--format"])
def test_json_lines_are_asked_for_by_name(export: Export, tmp_path: Path, name: str) -> None:
    arguments = ["--format", "ndjson"] if name == "--format" else [name]
    if name != "--format":
        arguments = [str(tmp_path / name)]
    printed = export("books", *arguments).printed

    content = printed if name == "--format" else (tmp_path / name).read_text()
    assert [json.loads(line) for line in content.splitlines()] == [
        {"id": 1, "name": "Hurt", "author": "Johnny Cash", "year": 2002},
        {"id": 2, "name": "a\nb", "author": '"Beck", é 🎸', "year": None},
        {"id": 3, "name": "=1", "author": "c", "year": 1994},
    ]


def test_a_format_that_is_asked_for_counts_more_than_the_name(
    export: Export, tmp_path: Path
) -> None:
    file = tmp_path / "books.ndjson"
    export("books", file, "--format", "csv")

    assert file.read_text() == WHOLE


def test_which_rows_is_asked_for_as_of_a_list(export: Export) -> None:
    printed = export("books", "--query", "year_gte=1990&sort=-year&escape=formulas").printed
    first = export("books", "--query", "limit=1").printed
    none = export("books", "--query", "year=1")

    assert printed == "\ufeff" + HEADER + "1,Hurt,Johnny Cash,2002\n3,'=1,c,1994\n"
    assert first == HEADER + "1,Hurt,Johnny Cash,2002\n"
    assert (none.code, none.printed) == (0, HEADER)


def test_every_resource_can_be_exported_and_no_password(export: Export, books: URL) -> None:
    execute(
        books,
        "TRUNCATE towns, novel, note, members RESTART IDENTITY CASCADE",
        "INSERT INTO members (username, email, hashed_password) VALUES ('ada', 'a@b.org', 'none')",
    )

    assert export("members").printed == ("id,username,email,is_superuser\n1,ada,a@b.org,false\n")
    assert export("towns").printed == "id,name,population\n"
    assert export("notes", "--format", "ndjson").printed == ""


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("yaer_gte=1", "yaer_gte: unknown parameter, did you mean `year_gte`?"),
        ("year_gte=x", "year_gte: input should be a valid integer."),
        ("limit=0", "limit should be an integer from 1 to 1000."),
        ("after=x", "The cursor in `after` belongs to another list"),
        ("count=exact", "count is only available in application/json responses."),
    ],
)
def test_a_query_that_does_not_fit_is_told_and_leaves_no_file(
    export: Export, tmp_path: Path, query: str, sentence: str
) -> None:
    file = tmp_path / "books.csv"
    file.write_text("as it was")

    for arguments in ([file], []):
        outcome = export("books", *arguments, "--query", query)
        assert (outcome.code, outcome.printed, len(outcome.told)) == (1, "", 1)
        assert outcome.told[0].startswith(f"samples: nothing was exported: {sentence}")
        assert outcome.told[0].count("?.") == 0
    assert file.read_text() == "as it was"
    assert [*tmp_path.iterdir()] == [file]


def test_a_place_that_cannot_be_written_to_is_named(export: Export, tmp_path: Path) -> None:
    for path, reason in (
        (tmp_path / "nowhere" / "books.csv", "No such file or directory"),
        (tmp_path, "Is a directory"),
    ):
        outcome = export("books", path)
        assert outcome == (1, "", [f"samples: {path} cannot be written: {reason}."])
    assert [*tmp_path.iterdir()] == []
    assert not tmp_path.with_name(f"{tmp_path.name}.part").exists()


def test_a_disk_that_is_full_leaves_the_file_as_it_was(export: Export, tmp_path: Path) -> None:
    import resource

    file = tmp_path / "books.csv"
    file.write_text("as it was")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40, hard))
    try:
        outcome = export("books", file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert outcome == (1, "", [f"samples: {file} cannot be written: File too large."])
    assert file.read_text() == "as it was"
    assert [*tmp_path.iterdir()] == [file]


def test_a_resource_that_is_none_is_answered_with_those_there_are(export: Export) -> None:
    outcome = export("sogns")

    assert outcome == (
        *(1, ""),
        ["samples: unknown resource sogns: choose from " + ", ".join(modules()) + "."],
    )


def test_a_database_that_is_away_or_not_migrated_leaves_no_file(
    export: Export, tmp_path: Path, scratch_url: URL
) -> None:
    for url, sentence in (
        ("postgresql://me@127.0.0.1:1/songbook", "cannot connect to PostgreSQL at 127.0.0.1:1"),
        (
            spelled(scratch_url),
            "a table does not exist: run the command migrate.",
        ),
    ):
        outcome = export("books", tmp_path / "books.csv", DATABASE_URL=url)
        assert (outcome.code, outcome.printed, len(outcome.told)) == (1, "", 1)
        assert outcome.told[0].startswith(f"samples: {sentence}")
    assert [*tmp_path.iterdir()] == []


def test_the_progress_is_for_the_eyes_alone(
    export: Export, books: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(
        books, "INSERT INTO book (name, author) SELECT 'a', 'b' FROM generate_series(1, 2000) AS i"
    )
    monkeypatch.setenv("FORCE_COLOR", "1")  # as if stderr were a terminal
    monkeypatch.setenv("TERM", "xterm")

    outcome = export("books")

    assert "Exporting books" in "".join(outcome.told)
    assert len(outcome.printed.splitlines()) == 2005
    assert "Exporting" not in outcome.printed


def test_a_pipe_is_written_to_and_stays_a_pipe(export: Export, tmp_path: Path) -> None:
    pipe = tmp_path / "books.csv"
    os.mkfifo(pipe)

    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        outcome = export("books", pipe)
        content = os.read(reading, 65536)
    finally:
        os.close(reading)

    assert outcome.code == 0
    assert pipe.is_fifo(), "so /dev/null would have become a file"
    assert content.decode() == WHOLE


def test_a_link_is_followed(export: Export, tmp_path: Path) -> None:
    target, link = tmp_path / "target.csv", tmp_path / "link.csv"
    target.write_text("as it was")
    link.symlink_to(target)

    assert export("books", link).code == 0
    assert link.is_symlink()
    assert target.read_text() == WHOLE


@pytest.mark.processes
@slow
def test_a_reader_who_has_seen_enough_is_no_failure_of_ours(books: URL) -> None:
    execute(
        books,
        "INSERT INTO book (name, author) SELECT repeat('x', 200), 'b'"
        " FROM generate_series(1, 3000) AS i",
    )

    with run(books, "export", "books") as exporting:
        assert exporting.stdout
        assert exporting.stderr
        assert exporting.stdout.readline() == HEADER.encode()
        exporting.stdout.close()
        told = exporting.stderr.read().decode()

    assert (exporting.returncode, told) == (1, "")


@pytest.mark.processes
@slow
def test_what_one_database_exports_another_imports(books: URL, migrated_url: URL) -> None:
    options = ["--format", "ndjson", "/dev/stdin", "--ignore", "id"]
    with run(books, "export", "books", "--format", "ndjson") as exporting:
        assert exporting.stdout
        with run(migrated_url, "import", "books", *options, stdin=exporting.stdout.fileno()) as one:
            printed, told = one.communicate(timeout=60)
        assert exporting.stderr
        report = exporting.stderr.read()

    assert (one.returncode, told) == (0, b"")
    assert re.fullmatch(rb"3 books stored in \d+\.\d s\.\n", printed)
    assert re.fullmatch(rb"3 books exported in \d+\.\d s\.\n", report)
    query = "SELECT name, author, year, version FROM book ORDER BY id"
    assert execute(migrated_url, query) == execute(books, query)
