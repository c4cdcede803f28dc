"""`python -m app import songs FILE.csv`: every row checked, all of them stored or none."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from tests.conftest import PROJECT, Outcome, execute, run_app, spelled

EXAMPLES = PROJECT.parent / "examples" / "songs.csv"
HEADER = "name,artist,year\n"


Load = Callable[..., Outcome]


@pytest.fixture
def songs(database_url: URL) -> URL:
    """Give the URL of a database without songs."""
    execute(database_url, "TRUNCATE song RESTART IDENTITY")
    return database_url


@pytest.fixture
def load(tmp_path: Path, command: Callable[..., Outcome]) -> Load:
    """Give the command for a file of this content; what it says of the file says it of FILE."""

    def run(url: URL, content: str | bytes, *options: str, resource: str = "songs") -> Outcome:
        file = tmp_path / "songs.csv"
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        outcome = command("import", resource, str(file), *options, DATABASE_URL=spelled(url))
        return outcome._replace(told=[line.replace(str(file), "FILE") for line in outcome.told])

    return run


def stored(url: URL) -> list[tuple[str, str, int | None]]:
    rows = execute(url, "SELECT name, artist, year FROM song ORDER BY id")
    return [(name, artist, year) for name, artist, year in rows]


def test_the_example_songs_are_loaded_whole(songs: URL) -> None:
    done = run_app("import", "songs", str(EXAMPLES), DATABASE_URL=spelled(songs))

    assert re.fullmatch(r"15738 songs stored in \d+\.\d s\.\n", done.stdout)
    assert done.stderr == ""
    assert execute(songs, "SELECT count(*), count(year), min(version) FROM song") == [
        (15738, 15738 - 6544, 1)
    ]
    assert stored(songs)[:2] == [
        ("Caught Up in You", ".38 Special", 1982),
        ("Fantasy Girl", ".38 Special", None),
    ]


def test_what_spreadsheets_make_of_a_file_is_understood(load: Load, songs: URL) -> None:
    content = (
        b"\xef\xbb\xbfyear,name,artist\r\n"
        b'1994," Hurt ","Nine ""Inch"" Nails"\r\n'
        b"\r\n"
        b',"Two\r\nlines, one song",\xc3\x98yafestivalen \xf0\x9f\x8e\xb8'
    )

    assert load(songs, content).code == 0
    assert stored(songs) == [
        ("Hurt", 'Nine "Inch" Nails', 1994),
        ("Two\r\nlines, one song", "Øyafestivalen 🎸", None),
    ]


def test_a_header_alone_is_a_file_without_songs(load: Load, songs: URL) -> None:
    assert load(songs, HEADER).printed.startswith("0 songs stored in ")
    assert stored(songs) == []


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            "name,artist,year,source\nHurt,Johnny Cash,2002,538\n",
            "FILE has columns that are no fields: source. Add --ignore source.",
        ),
        ("name,artist,id\na,b,7\n", "FILE has columns that are no fields: id. Add --ignore id."),
        ("name,year\nHurt,2002\n", "FILE lacks in its first line the column artist."),
        ("Hurt,Johnny Cash,2002\n", "FILE has columns that are no fields: Hurt, Johnny Cash, 2002"),
        ("name,artist,name\na,b,c\n", "FILE names the column name twice."),
        ("", "FILE lacks in its first line the column name, artist."),
        ("\n" + HEADER + "a,b,\n", "FILE lacks in its first line the column name, artist."),
        (HEADER + '"a,b,\nc,d,\n', "FILE, about line 4: unexpected end of data."),
        (HEADER + '"a"b,c,\n', "FILE, about line 3: "),
        (HEADER.encode() + "Né,b,\n".encode("latin-1"), "FILE, about line 1: not UTF-8."),
        ((HEADER + "a,b,\n").encode("utf-16"), "FILE, about line 1: not UTF-8."),
    ],
)
def test_a_file_that_is_no_table_of_songs_is_refused_in_one_line(
    load: Load, songs: URL, content: str | bytes, sentence: str
) -> None:
    outcome = load(songs, content)

    assert outcome.code == 1
    assert outcome.printed == ""
    assert len(outcome.told) == 1
    assert outcome.told[0].startswith(f"songbook: {sentence}")
    assert stored(songs) == []


def test_bytes_that_are_no_utf_8_late_in_a_long_file_leave_nothing_behind(
    load: Load, songs: URL
) -> None:
    outcome = load(songs, HEADER.encode() + b"a,b,\n" * 10_000 + b"\xff,b,\n")

    assert outcome.code == 1
    assert re.fullmatch(r"songbook: FILE, about line \d+: not UTF-8\.", outcome.told[-1])
    assert stored(songs) == []


def test_a_file_that_is_not_there_or_none_at_all_is_named(
    command: Callable[..., Outcome], songs: URL, tmp_path: Path
) -> None:
    for path, reason in (
        (tmp_path / "nowhere.csv", "No such file or directory"),
        (tmp_path, "Is a directory"),
    ):
        outcome = command("import", "songs", str(path), DATABASE_URL=spelled(songs))
        assert outcome == (1, "", [f"songbook: {path} cannot be read: {reason}."])


def test_a_resource_that_is_none_is_answered_with_those_there_are(load: Load, songs: URL) -> None:
    outcome = load(songs, HEADER, resource="sogns")

    assert outcome.code == 1
    assert re.fullmatch(r"songbook: there is no resource sogns: there are .*", outcome.told[0])
    assert "songs" in outcome.told[0].removeprefix("songbook: there is no resource sogns")


FAULTY = (
    "name,artist,year,source\n"
    "Hurt,Johnny Cash,2002,538\n"
    '"Bullfrog\nBlues",Rory Gallagher,SONGFACTS.COM,538\n'
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
    "line 8: has 2 values where the header names 4",
    "line 9: name: String should not contain NUL (U+0000)",
    "line 10: year: Input should be greater than or equal to 1",
]


def test_rows_that_do_not_fit_are_listed_by_line_and_nothing_is_stored(
    load: Load, songs: URL
) -> None:
    outcome = load(songs, FAULTY, "--ignore", "source")

    assert outcome.code == 1
    assert outcome.printed == ""
    assert outcome.told == [
        *REASONS,
        "songbook: 5 rows do not fit, nothing was stored: mend them or add --skip-bad.",
    ]
    assert stored(songs) == []


def test_rows_that_do_not_fit_are_left_out_when_that_is_asked_for(load: Load, songs: URL) -> None:
    outcome = load(songs, FAULTY, "--ignore", "source", "--skip-bad")

    assert outcome.code == 0
    assert outcome.told == REASONS
    assert re.fullmatch(r"2 songs stored in \d+\.\d s, 5 left out\.\n", outcome.printed)
    assert stored(songs) == [("Hurt", "Johnny Cash", 2002), ("Levon", "Elton John", 1071)]


def test_a_long_list_of_rows_that_do_not_fit_is_cut(load: Load, songs: URL) -> None:
    outcome = load(songs, HEADER + "a,b,c\n" * 1002)

    assert outcome.told[999:] == [
        "line 1001: year: Input should be a valid integer",
        "and 2 more",
        "songbook: 1002 rows do not fit, nothing was stored: mend them or add --skip-bad.",
    ]


def test_a_column_to_ignore_must_be_there(load: Load, songs: URL) -> None:
    outcome = load(songs, HEADER, "--ignore", "source")

    assert outcome.told == ["songbook: FILE has no column source to ignore."]


def test_a_duplicate_leaves_nothing_behind_and_is_named(load: Load, migrated_url: URL) -> None:
    execute(migrated_url, "CREATE UNIQUE INDEX uq_song_name ON song (name)")

    outcome = load(migrated_url, HEADER + "Hurt,Johnny Cash,\nLoser,Beck,\nHurt,NIN,\n")

    assert outcome.code == 1
    assert outcome.told == [
        "songbook: nothing was stored: Key (name)=(Hurt) already exists.",
    ]
    assert stored(migrated_url) == []


def test_a_database_that_was_not_migrated_is_told_how(load: Load, scratch_url: URL) -> None:
    outcome = load(scratch_url, HEADER + "Hurt,Johnny Cash,\n")

    assert outcome.code == 1
    assert len(outcome.told) == 1
    assert "python -m app migrate" in outcome.told[0]


def test_the_progress_is_for_the_eyes_and_the_report_for_the_pipe(
    load: Load, songs: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as if stderr were a terminal
    monkeypatch.setenv("TERM", "xterm")

    outcome = load(songs, HEADER + "Hurt,Johnny Cash,\n" * 2000)

    assert "Importing songs.csv" in "".join(outcome.told)
    assert re.fullmatch(r"2000 songs stored in \d+\.\d s\.\n", outcome.printed)


def test_ctrl_c_in_the_middle_stores_nothing(songs: URL, tmp_path: Path) -> None:
    file = tmp_path / "songs.csv"
    file.write_text(HEADER + "Hurt,Johnny Cash,2002\n" * 500_000)
    underway = (
        "SELECT tuples_processed > 1000 FROM pg_stat_progress_copy"
        " WHERE datname = current_database()"
    )
    with subprocess.Popen(
        [sys.executable, "-m", "app", "import", "songs", str(file)],
        cwd=PROJECT,
        env={**os.environ, "DATABASE_URL": spelled(songs)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as loading:
        try:
            deadline = time.monotonic() + 30
            while execute(songs, underway) != [(True,)]:
                assert loading.poll() is None
                assert time.monotonic() < deadline, "waited in vain"
                time.sleep(0.02)
            loading.send_signal(signal.SIGINT)
            report, told = loading.communicate(timeout=30)
        finally:
            loading.kill()

    assert (loading.returncode, report, told) == (130, "", "")
    assert execute(songs, "SELECT count(*) FROM song") == [(0,)]
