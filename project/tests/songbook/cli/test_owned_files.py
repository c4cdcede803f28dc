"""`import` and `export` of a table whose rows have owners: `--as USERNAME`."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from tests.support.databases import execute, spelled
from tests.support.processes import Outcome

pytestmark = pytest.mark.long

MEMBERS = (
    "INSERT INTO members (username, email, hashed_password, is_superuser) VALUES"
    " ('ada', 'a@example.org', '-', false), ('bob', 'b@example.org', '-', false),"
    " ('eve', 'e@example.org', '-', true)"
)
FOLDERS = "INSERT INTO folder (name, owner_id) VALUES ('Poems', 1), ('Poems', 2), ('Plays', 2)"
ROWS = "SELECT name, year, owner_id FROM folder ORDER BY id"

Command = Callable[..., Outcome]


@pytest.fixture
def folders(database_url: URL) -> URL:
    """Give the URL of a database with three members, two of whom have folders."""
    execute(
        database_url,
        "TRUNCATE folder, clipping, members RESTART IDENTITY CASCADE",
        MEMBERS,
        FOLDERS,
    )
    return database_url


@pytest.fixture
def run(folders: URL, command: Command) -> Command:
    """Give the command line on that database."""
    return lambda *arguments: command(*map(str, arguments), DATABASE_URL=spelled(folders))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Give a file with two folders."""
    path = tmp_path / "folders.csv"
    path.write_text("name,year\nPoems,1923\nNotes,\n")
    return path


def test_an_import_says_whose_the_rows_are(run: Command, folders: URL, file: Path) -> None:
    refused = run("import", "folders", file)
    assert refused.code == 1
    assert refused.told == ["samples: folders have owners: say whose they are with --as USERNAME."]
    unknown = run("import", "folders", file, "--as", "nobody")
    assert unknown.told == ["samples: there is no user nobody: --as takes a username."]
    assert len(execute(folders, ROWS)) == 3

    stored = run("import", "folders", file, "--as", "ADA", "--on-conflict", "update")

    assert stored.printed.startswith("2 folders stored")
    assert execute(folders, ROWS) == [
        ("Poems", 1923, 1),
        ("Poems", None, 2),
        ("Plays", None, 2),
        ("Notes", None, 1),
    ]


def test_the_parents_of_imported_rows_are_the_users(
    run: Command, folders: URL, tmp_path: Path
) -> None:
    path = tmp_path / "clippings.csv"
    path.write_text("text,folder_id\na,1\nb,2\n")

    skipping = run("import", "clippings", path, "--as", "ada", "--on-error", "skip")

    assert skipping.printed.startswith("1 clipping stored")
    assert skipping.told == ["line 3: folder_id: The referenced record does not exist"]
    assert execute(folders, "SELECT text, folder_id, owner_id FROM clipping") == [("a", 1, 1)]


def test_an_export_has_the_rows_of_one_user_or_of_all(run: Command) -> None:
    header, ada, *bob = "id,name,year", "1,Poems,", "2,Poems,", "3,Plays,"

    for arguments, rows in (
        (("--as", "ada"), [ada]),
        (("--as", "bob", "--query", "sort=id"), bob),
        (("--as", "eve"), [ada, *bob]),
        ((), [ada, *bob]),
    ):
        exported = run("export", "folders", *arguments)
        assert exported.printed.splitlines() == [header, *rows]
