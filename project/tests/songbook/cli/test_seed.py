"""The command `seed`: example data, in tables that are empty, and what a terminal says of it."""

import os
import pty
import re
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.engine import URL, make_url

from songbook.cli.app import Commands
from songbook.config import CommandError, Settings
from tests.support.databases import execute, spelled
from tests.support.processes import Outcome
from tests.support.services import SAMPLES

ROWS = "SELECT (SELECT count(*) FROM book), (SELECT count(*) FROM towns)"

Command = Callable[..., Outcome]


@pytest.fixture
def empty(database_url: URL) -> URL:
    """Give the URL of a database without books and towns."""
    execute(database_url, "TRUNCATE book, towns RESTART IDENTITY CASCADE")
    return database_url


def test_a_service_gets_its_example_data_once(command: Command, empty: URL) -> None:
    seeded = command("seed", DATABASE_URL=spelled(empty))
    again = command("seed", DATABASE_URL=spelled(empty))

    said = r"2 books stored in \d+\.\d s\.\n1 town stored in \d+\.\d s\.\n"
    assert re.fullmatch(said, seeded.printed)
    assert (seeded.code, seeded.told) == (0, [])
    refusal = "samples: there are books, towns already: nothing was added to them."
    assert again == (1, "", [refusal])
    assert execute(empty, ROWS) == [(2, 1)]


def test_tables_that_have_rows_are_left_alone_and_named(command: Command, empty: URL) -> None:
    execute(empty, "INSERT INTO towns (name, population) VALUES ('Rome', 2800000)")

    seeded = command("seed", DATABASE_URL=spelled(empty))

    assert (seeded.code, seeded.printed[:14]) == (0, "2 books stored")
    assert seeded.told == ["samples: there are towns already: nothing was added to them."]
    assert execute(empty, ROWS) == [(2, 1)]


def test_production_gets_no_example_data(command: Command, empty: URL) -> None:
    secret = secrets.token_urlsafe(48)
    settings = {"ENVIRONMENT": "prod", "OAUTH_TOKEN_SECRET": secret}
    refused = command("seed", DATABASE_URL=spelled(empty), **settings)

    assert refused == (1, "", ["samples: production gets no example data: import your own."])
    assert execute(empty, ROWS) == [(0, 0)]


def test_without_tables_seeding_says_to_migrate_first(command: Command, scratch_url: URL) -> None:
    refused = command("seed", DATABASE_URL=spelled(scratch_url))

    assert refused.told == ["samples: a table does not exist: run the command migrate."]


def test_a_service_without_example_data_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, empty: URL
) -> None:
    monkeypatch.setenv("DATABASE_URL", spelled(empty))
    commands = SAMPLES.cli.service
    assert isinstance(commands, Commands)

    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(CommandError, match="has no file called after a resource"):
            replace(commands, examples=folder).seed()


@pytest.fixture
def examples(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, empty: URL) -> Iterator[Commands]:
    """Give the commands of a service whose examples are novels, and publishers behind them."""
    monkeypatch.setenv("DATABASE_URL", spelled(empty))
    execute(empty, "TRUNCATE publisher, novel RESTART IDENTITY CASCADE")
    (tmp_path / "novels.csv").write_text("title,publisher_id\nEmma,1\n")
    (tmp_path / "publishers.csv").write_text("name\nFaber\n")
    commands = SAMPLES.cli.service
    assert isinstance(commands, Commands)
    yield replace(commands, examples=tmp_path)
    execute(empty, "TRUNCATE publisher, novel RESTART IDENTITY CASCADE")


def test_parents_are_stored_before_the_records_that_refer_to_them(
    examples: Commands, empty: URL, capsys: pytest.CaptureFixture[str]
) -> None:
    examples.seed()

    assert [line[:8] for line in capsys.readouterr().out.splitlines()] == ["1 publis", "1 novel "]
    assert execute(empty, "SELECT publisher_id FROM novel") == [(1,)]


def test_after_an_error_a_second_run_goes_on(
    examples: Commands, tmp_path: Path, empty: URL, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "novels.csv").write_text("title,publisher_id\nEmma,many\n")
    with pytest.raises(CommandError, match="1 invalid row, nothing was stored"):
        examples.seed()
    (tmp_path / "novels.csv").write_text("title,publisher_id\nEmma,1\n")

    examples.seed()

    kept = "samples: there are publishers already: nothing was added to them.\n"
    assert capsys.readouterr().err.endswith(kept)
    assert execute(empty, "SELECT count(*) FROM publisher, novel") == [(1,)]


def test_of_two_seeds_at_once_one_waits_and_finds_the_rows_of_the_other(
    examples: Commands, empty: URL
) -> None:
    with ThreadPoolExecutor(2) as threads:
        both = [threads.submit(examples.seed) for _ in range(2)]

    told = "there are publishers, novels already: nothing was added to them."
    assert [str(each.exception()) for each in both if each.exception()] == [told]
    assert execute(empty, "SELECT count(*) FROM publisher, novel") == [(1,)]


def test_examples_that_would_need_owners_are_refused_before_any_are_stored(
    examples: Commands, tmp_path: Path, empty: URL
) -> None:
    (tmp_path / "folders.csv").write_text("name\nPoems\n")

    with pytest.raises(CommandError, match=r"^folders have owners: take their files out of "):
        examples.seed()

    assert execute(empty, "SELECT count(*) FROM publisher") == [(0,)]


def offer(url: str, **settings: str) -> None:
    """Let the service offer its example data, as `serve` does."""
    commands = SAMPLES.cli.service
    assert isinstance(commands, Commands)
    commands.offer_examples(Settings(database_url=url, **settings), make_url(url))


def offered_on_terminal(url: str, **settings: str) -> str:
    """Return what is offered where standard output is a terminal."""
    reading, writing = pty.openpty()
    with os.fdopen(reading, "rb") as master, os.fdopen(writing, "w") as screen:
        with redirect_stdout(screen):
            offer(url, **settings)
            print("end", flush=True)
        lines = iter(master.readline, b"end\r\n")
        return b"".join(lines).decode()


def test_a_terminal_offers_the_example_data_while_there_is_none(
    empty: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "Its tables are empty: `{}`, in another terminal, stores example data.\r\n"
    monkeypatch.delenv("MAKELEVEL", raising=False)
    assert offered_on_terminal(spelled(empty)) == text.format("python -m tests.samples seed")

    monkeypatch.setenv("MAKELEVEL", "1")  # as make does for what it runs
    assert offered_on_terminal(spelled(empty)) == text.format("make seed")

    execute(empty, "INSERT INTO towns (name, population) VALUES ('Rome', 2800000)")
    assert offered_on_terminal(spelled(empty)) == ""


def test_nothing_is_offered_in_production_or_without_the_tables(
    empty: URL, scratch_url: URL
) -> None:
    assert offered_on_terminal(spelled(empty), environment="prod") == ""
    assert offered_on_terminal(spelled(scratch_url)) == ""


def test_nothing_is_offered_where_no_person_reads(
    empty: URL, capsys: pytest.CaptureFixture[str]
) -> None:
    offer(spelled(empty))

    assert capsys.readouterr() == ("", "")
