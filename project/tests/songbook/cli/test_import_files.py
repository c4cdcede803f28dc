"""`python -m … import RESOURCE FILE`: every row checked, all of them stored or none."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import URL

from tests.support.databases import execute, spelled
from tests.support.marks import slow
from tests.support.paths import PROJECT
from tests.support.processes import Outcome
from tests.support.services import SAMPLES
from tests.support.waiting import wait_until

pytestmark = pytest.mark.long

HEADER = "name,author,year\n"
TOWNS = "name,population\nOslo,700000\nRome,2800000\n"
# A row of this name takes its time, amid the others.
SLOW = """
CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.name = 'slow' THEN PERFORM pg_sleep(30); END IF;
        RETURN NEW;
    END
$$
"""
WAIT = "CREATE TRIGGER wait BEFORE INSERT ON book FOR EACH ROW EXECUTE FUNCTION wait()"
ASLEEP = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND query LIKE 'COPY%'"

Load = Callable[..., Outcome]


@pytest.fixture
def books(database_url: URL) -> URL:
    """Give the URL of a database without books, and without towns."""
    execute(database_url, "TRUNCATE book, towns, novel RESTART IDENTITY")
    return database_url


@pytest.fixture
def load(tmp_path: Path, command: Callable[..., Outcome]) -> Load:
    """Give the command for a file of this content; what it says of the file says it of FILE."""

    def run(
        url: URL, content: str | bytes, *options: str, resource: str = "books", suffix: str = "csv"
    ) -> Outcome:
        file = tmp_path / f"{resource}.{suffix}"
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        outcome = command("import", resource, str(file), *options, DATABASE_URL=spelled(url))
        return outcome._replace(told=[line.replace(str(file), "FILE") for line in outcome.told])

    return run


def stored(url: URL) -> list[tuple[str, str, int | None]]:
    rows = execute(url, "SELECT name, author, year FROM book ORDER BY id")
    return [(name, author, year) for name, author, year in rows]


def towns(url: URL) -> list[tuple[Any, ...]]:
    return execute(url, "SELECT name, population, version FROM towns ORDER BY id")


def test_what_spreadsheets_make_of_a_file_is_understood(load: Load, books: URL) -> None:
    content = (
        b"\xef\xbb\xbfyear,name,author\r\n"
        b'1994," Hurt ","Nine ""Inch"" Nails"\r\n'
        b"\r\n"
        b',"Two\r\nlines, one book",\xc3\x98yafestivalen \xf0\x9f\x8e\xb8'
    )

    assert load(books, content).code == 0
    assert stored(books) == [
        ("Hurt", 'Nine "Inch" Nails', 1994),
        ("Two\r\nlines, one book", "Øyafestivalen 🎸", None),
    ]


def test_blank_lines_before_the_names_are_passed_over(load: Load, books: URL) -> None:
    outcome = load(books, "\n\r\n" + HEADER + "a,b,\nc,d,x\n", "--on-error", "skip")

    assert outcome.told == ["line 5: year: Input should be a valid integer"]
    assert stored(books) == [("a", "b", None)]


@pytest.mark.parametrize("suffix", ["ndjson", "jsonl", "NDJSON"])
def test_a_file_of_json_lines_is_told_by_its_name(load: Load, books: URL, suffix: str) -> None:
    content = '{"name":"Hurt","author":"Beck, \\"x\\"","year":"1994"}\n\n{"author":"b","name":"a"}'

    assert load(books, content, suffix=suffix).code == 0
    assert stored(books) == [("Hurt", 'Beck, "x"', 1994), ("a", "b", None)]


def test_the_format_that_is_asked_for_counts_more_than_the_name(load: Load, books: URL) -> None:
    assert load(books, '{"name":"a","author":"b"}', "--format", "ndjson").code == 0
    assert load(books, HEADER + "c,d,\n", "--format", "csv", suffix="ndjson").code == 0
    assert stored(books) == [("a", "b", None), ("c", "d", None)]


def test_rows_may_come_through_a_pipe(command: Callable[..., Outcome], books: URL) -> None:
    reading, writing = os.pipe()
    os.write(writing, b'{"name":"a","author":"b"}\n' * 1000)
    os.close(writing)

    asked = ("books", f"/dev/fd/{reading}", "--format", "ndjson")
    outcome = command("import", *asked, DATABASE_URL=spelled(books))
    os.close(reading)

    assert (outcome.code, outcome.told) == (0, [])
    assert re.fullmatch(r"1000 books stored in \d+\.\d s\.\n", outcome.printed)
    assert execute(books, "SELECT count(*) FROM book") == [(1000,)]


@pytest.mark.parametrize(("content", "suffix"), [(HEADER, "csv"), ("", "ndjson")])
def test_a_file_without_rows_stores_none(load: Load, books: URL, content: str, suffix: str) -> None:
    assert load(books, content, suffix=suffix).printed.startswith("0 books stored in ")
    assert stored(books) == []


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("name,author,year,source\nHurt,Johnny Cash,2002,538\n", "FILE: source: unknown column. "),
        ("name,author,id\na,b,7\n", "FILE: id: unknown column. Leave columns out with --ignore."),
        ("name,author,yaer\na,b,7\n", "FILE: yaer: unknown column, did you mean `year`? Leave"),
        ("name,year\nHurt,2002\n", "FILE: author is missing."),
        (
            "Hurt,Johnny Cash,2002\n",
            "FILE: Hurt: unknown column; Johnny Cash: unknown column; 2002: unk",
        ),
        ("name,author,name\na,b,c\n", "FILE: name is repeated."),
        ("", "FILE: name is missing; author is missing."),
        ("\n\n", "FILE: name is missing; author is missing."),
        (b"n\xffme,name,author\na,b,c\n", "FILE: The header is not valid UTF-8."),
        (
            HEADER + '"a,b,\nc,d,\n',
            "FILE: Invalid CSV at line 2: unexpected end of data.",
        ),
        (HEADER + '"a"b,c,\n', "FILE: Invalid CSV at line 2: "),
        ((HEADER + "a,b,\n").encode("utf-16"), "FILE: The body is UTF-16: send it in UTF-8."),
        (HEADER + f"{'a' * 70_000},b,\n", "FILE: Line 2 is longer than 65536 characters."),
    ],
)
def test_a_file_that_is_no_table_of_books_is_refused_in_one_line(
    load: Load, books: URL, content: str | bytes, sentence: str
) -> None:
    outcome = load(books, content)

    assert outcome.code == 1
    assert outcome.printed == ""
    assert len(outcome.told) == 1
    assert outcome.told[0].startswith(f"samples: {sentence}")
    assert stored(books) == []


def test_bytes_that_are_no_utf_8_late_in_a_long_file_leave_nothing_behind(
    load: Load, books: URL
) -> None:
    content = HEADER.encode() + b"a,b,\n" * 10_000 + b"\xff,b,\n" + "é,Né,\n".encode("latin-1")

    outcome = load(books, content)

    assert (outcome.code, outcome.printed) == (1, "")
    assert outcome.told == [
        "line 10002: name: Should be valid UTF-8",
        "line 10003: name: Should be valid UTF-8",
        "line 10003: author: Should be valid UTF-8",
        "samples: 2 invalid rows, nothing was stored: correct the file or add --on-error skip.",
    ]
    assert stored(books) == []


def test_a_file_that_is_not_there_or_none_at_all_is_named(
    command: Callable[..., Outcome], books: URL, tmp_path: Path
) -> None:
    for path, reason in (
        (tmp_path / "nowhere.csv", "No such file or directory"),
        (tmp_path, "Is a directory"),
    ):
        outcome = command("import", "books", str(path), DATABASE_URL=spelled(books))
        assert outcome == (1, "", [f"samples: {path} cannot be read: {reason}."])


def test_a_resource_that_is_none_is_answered_with_those_there_are(load: Load, books: URL) -> None:
    outcome = load(books, HEADER, resource="sogns")

    assert outcome.code == 1
    assert re.fullmatch(r"samples: unknown resource sogns: choose from .*", outcome.told[0])
    assert "books" in outcome.told[0].removeprefix("samples: unknown resource sogns")


def test_accounts_are_not_imported_because_their_passwords_are_hashed(
    load: Load, books: URL
) -> None:
    content = "username,email,password\nada,ada@example.org,correct-horse-battery\n"

    outcome = load(books, content, resource="members")

    assert (outcome.code, outcome.printed, len(outcome.told)) == (1, "", 1)
    assert outcome.told[0].endswith(
        ", because the table has no column for password: send the rows with POST."
    )


FAULTY = (
    "name,author,year,source\n"
    "Hurt,Johnny Cash,2002,538\n"
    '"Bullfrog\nBlues",Rory Gallagher,BOOKFACTS.COM,538\n'
    " ,Afrissippi,,salami\n"
    "\n"
    "Levon,Elton John,1071,538\n"
    "Loser,Beck\n"
    "N\0L,Beck,1994,538\n"
    "Fly,Nobody,0,538\n"
)
REASONS = [
    "line 3: year: Input should be a valid integer",
    "line 5: name: String should have at least 1 character",
    "line 8: Number of values should be 4, as in the header, not 2",
    "line 9: name: String should not contain NUL (U+0000)",
    "line 10: year: Input should be greater than or equal to 1",
]


def test_rows_that_do_not_fit_are_listed_by_line_and_nothing_is_stored(
    load: Load, books: URL
) -> None:
    outcome = load(books, FAULTY, "--ignore", "source")

    assert outcome.code == 1
    assert outcome.printed == ""
    assert outcome.told == [
        *REASONS,
        "samples: 5 invalid rows, nothing was stored: correct the file or add --on-error skip.",
    ]
    assert stored(books) == []


def test_rows_that_do_not_fit_are_left_out_when_that_is_asked_for(load: Load, books: URL) -> None:
    outcome = load(books, FAULTY, "--ignore", "source", "--on-error", "skip")

    assert outcome.code == 0
    assert outcome.told == REASONS
    assert re.fullmatch(r"2 books stored in \d+\.\d s, 5 refused\.\n", outcome.printed)
    assert stored(books) == [("Hurt", "Johnny Cash", 2002), ("Levon", "Elton John", 1071)]


def test_nothing_is_stored_where_no_row_fits_whatever_is_asked_for(load: Load, books: URL) -> None:
    outcome = load(books, HEADER + "a,b,c\n", "--on-error", "skip")

    assert (outcome.code, outcome.printed) == (1, "")
    assert outcome.told == [
        "line 2: year: Input should be a valid integer",
        "samples: 1 invalid row, nothing was stored.",
    ]


def test_what_is_tried_dry_is_told_in_full_and_not_stored(load: Load, books: URL) -> None:
    outcome = load(books, FAULTY, "--ignore", "source", "--on-error", "skip", "--dry-run")

    assert (outcome.code, outcome.told) == (0, REASONS)
    assert re.fullmatch(r"2 books would be stored in \d+\.\d s, 5 refused\.\n", outcome.printed)
    assert stored(books) == []
    assert load(books, FAULTY, "--ignore", "source", "--dry-run").code == 1


def test_a_long_list_of_rows_that_do_not_fit_is_cut(load: Load, books: URL) -> None:
    outcome = load(books, HEADER + "a,b,c\n" * 1002)

    assert outcome.told[99:] == [
        "line 101: year: Input should be a valid integer",
        "and 902 more",
        "samples: 1002 invalid rows, nothing was stored: correct the file or add --on-error skip.",
    ]


def test_json_lines_that_do_not_fit_are_listed_by_line(load: Load, books: URL) -> None:
    content = '{"name":"a","author":"b"}\n{"name":1,"author":"b","c":2}\n[]\n{"name":\n'

    outcome = load(books, content, suffix="ndjson")

    assert (outcome.code, outcome.printed) == (1, "")
    assert outcome.told == [
        "line 2: name: Input should be a valid string",
        "line 2: c: Unknown field",
        "line 3: The line is not a JSON object",
        "line 4: The line is not valid JSON: Expecting value at column 9",
        "samples: 3 invalid rows, nothing was stored: correct the file or add --on-error skip.",
    ]


def test_a_column_to_ignore_must_be_there(load: Load, books: URL) -> None:
    outcome = load(books, HEADER, "--ignore", "source")

    assert len(outcome.told) == 1
    assert outcome.told[0].startswith("samples: FILE: source is not a column of the file.")


def test_several_columns_can_be_ignored(load: Load, books: URL) -> None:
    content = "id,name,author,,year\n7,a,b,x,1999\n"

    assert load(books, content, "--ignore", "id", "--ignore", "").code == 0
    assert stored(books) == [("a", "b", 1999)]


def test_a_duplicate_leaves_nothing_behind_and_is_named(load: Load, books: URL) -> None:
    content = TOWNS + '"a\nb",1\nOslo,3\n'

    outcome = load(books, content, resource="towns")

    assert (outcome.code, outcome.printed) == (1, "")
    assert outcome.told[0] == "line 6: name: The town is already stored"
    assert "Line 6: The town is already stored, so nothing was stored." in outcome.told[1]
    assert outcome.told[1].endswith(" Add --on-conflict skip or update.")
    assert len(outcome.told) == 2
    assert towns(books) == []


def test_a_duplicate_under_a_rule_that_only_the_database_knows_is_told_by_its_line(
    load: Load, migrated_url: URL
) -> None:
    execute(migrated_url, "CREATE UNIQUE INDEX uq_book_name ON book (name)")

    outcome = load(migrated_url, HEADER + "Hurt,Johnny Cash,\nLoser,Beck,\nHurt,NIN,\n")

    assert outcome == (
        *(1, ""),
        [
            "line 4: The record is already stored",
            "samples: Line 4: The record is already stored, so nothing was stored.",
        ],
    )
    assert stored(migrated_url) == []


def test_rows_that_are_there_already_are_skipped_or_replaced_when_that_is_asked_for(
    load: Load, books: URL
) -> None:
    load(books, TOWNS, resource="towns")
    content = "name,population\nOslo,1\nRome,2800000\nLima,5\nLima,6\n"

    skipped = load(books, content, "--on-conflict", "skip", "--dry-run", resource="towns")
    assert re.fullmatch(r"1 town would be stored in \S+ s, 3 skipped\.\n", skipped.printed)
    assert towns(books) == [("Oslo", 700_000, 1), ("Rome", 2_800_000, 1)]

    replaced = load(books, content, "--on-conflict", "update", resource="towns")
    assert re.fullmatch(r"2 towns stored in \d+\.\d s, 2 skipped\.\n", replaced.printed)
    assert towns(books) == [("Oslo", 1, 2), ("Rome", 2_800_000, 1), ("Lima", 6, 1)]


def test_what_has_no_key_cannot_be_there_already(load: Load, books: URL) -> None:
    outcome = load(books, HEADER + "a,b,\n", "--on-conflict", "update")

    assert outcome == (
        1,
        "",
        ["samples: books do not have exactly one unique key: leave out --on-conflict."],
    )


@pytest.mark.parametrize("option", ["--on-error", "--on-conflict", "--format"])
def test_what_an_option_can_be_is_told_with_the_options(
    load: Load, books: URL, option: str
) -> None:
    outcome = load(books, HEADER + "a,b,\n", option, "sikp")

    assert outcome.code == 2
    assert "sikp" in "".join(outcome.told)
    assert stored(books) == []


def test_rows_that_take_too_much_disk_are_not_stored(
    load: Load, books: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMPORT_BYTES", "1024")

    outcome = load(books, HEADER + "a,b,\n" * 1000)

    assert outcome == (1, "", ["samples: FILE: The rows take more than 1024 bytes."])
    assert stored(books) == []


@slow
def test_rows_that_take_too_long_are_not_stored(
    load: Load, migrated_url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(migrated_url, SLOW, WAIT)
    monkeypatch.setenv("BULK_SECONDS", "1")

    outcome = load(migrated_url, HEADER + "a,b,\nslow,b,\n")

    assert (outcome.code, outcome.printed, len(outcome.told)) == (1, "", 1)
    assert "longer than BULK_SECONDS" in outcome.told[0]
    assert stored(migrated_url) == []


def test_a_database_that_was_not_migrated_is_told_how(load: Load, scratch_url: URL) -> None:
    outcome = load(scratch_url, HEADER + "Hurt,Johnny Cash,\n")

    assert outcome.code == 1
    assert len(outcome.told) == 1
    assert "run the command migrate" in outcome.told[0]


def test_the_progress_is_for_the_eyes_and_the_report_for_the_pipe(
    load: Load, books: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as if stderr were a terminal
    monkeypatch.setenv("TERM", "xterm")

    outcome = load(books, HEADER + "Hurt,Johnny Cash,\n" * 2000)

    assert "Importing books.csv" in "".join(outcome.told)
    assert re.fullmatch(r"2000 books stored in \d+\.\d s\.\n", outcome.printed)


@contextmanager
def importing(url: URL, file: Path) -> Iterator["subprocess.Popen[str]"]:
    """Import a file of books in a process of its own."""
    with subprocess.Popen(
        [sys.executable, "-m", SAMPLES.package, "import", "books", str(file)],
        cwd=PROJECT,
        env={**os.environ, "DATABASE_URL": spelled(url)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def assert_interrupted(process: "subprocess.Popen[str]", url: URL) -> None:
    """Press Ctrl-C; assert that the process ends without a word, and has stored nothing.

    The tracer that measures coverage swallows an interrupt now and then: then it is pressed again.
    """
    for patience in (25, 25, 25):
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            report, told = process.communicate(timeout=patience)
            break
    else:
        pytest.fail("the process went on")

    assert (process.returncode, report, told) == (130, "", "")
    assert execute(url, "SELECT count(*) FROM book") == [(0,)]


@slow
@pytest.mark.processes
def test_ctrl_c_while_rows_are_stored_stores_nothing(migrated_url: URL, tmp_path: Path) -> None:
    execute(migrated_url, SLOW, WAIT)
    file = tmp_path / "books.csv"
    file.write_text(HEADER + "Hurt,Johnny Cash,2002\n" * 5000 + "slow,b,\n" + "c,d,\n" * 5000)

    with importing(migrated_url, file) as process:
        wait_until(lambda: execute(migrated_url, ASLEEP) or process.poll())
        assert_interrupted(process, migrated_url)


@pytest.mark.processes
@slow
def test_ctrl_c_while_a_file_is_read_stores_nothing(books: URL, tmp_path: Path) -> None:
    pipe = tmp_path / "books.csv"
    os.mkfifo(pipe)

    with importing(books, pipe) as process, pipe.open("w") as rows:
        rows.write(HEADER + "Hurt,Johnny Cash,2002\n" * 20_000)  # more than a pipe holds
        rows.flush()
        assert_interrupted(process, books)
