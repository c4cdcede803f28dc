"""Rows of a text that comes in pieces: the same rows and lines, however it is cut."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from songbook.bulk.csv_parser import CsvParser
from songbook.bulk.parsers import NdjsonParser, RowParser
from songbook.errors.problems import Problem
from songbook.models import Schema
from tests.samples.resources.books import BookCreate
from tests.samples.resources.notes import NoteCreate

pytestmark = pytest.mark.long

LONGEST = 1024
HEADER = "name,author,year\n"

# Each has what is easily cut wrongly: ends of lines, quotes, characters of several bytes.
CSV_TEXTS = {
    "line ends of all kinds": b"name,author,year\r\na,b,1\rc,d,2\ne,f,3\r\n\r\n\n\r\rg,h,4",
    "quotes, and what is in them": (
        b'name,author,year\n"a ""b"" c","d,e",1\n"f\r\ng\n\nh\ri","",""\n\n"""",j,2\n'
    ),
    "a byte order mark, and all of Unicode": "\ufeffname,author\né,日本\n🎸,\u2028\x85\n".encode(),
    "bytes that are no UTF-8": (
        b"name,author\n\xff,b\na,\xc3\n\xf0\x9f,b\n\xed\xa0\x80,b\na,\xe2\x80"
    ),
    "rows of other lengths": b"name,author,year\na\na,b\na,b,1,2\n,,\na,b,1\n   \n",
    "semicolons": b'\r\n"name";"author";year\na;"b;c\n";1\nd,e;f;\n',
    "semicolons beside commas": b"name;author,year\na,b\n",
    "semicolons on a second line only": b'"na\nme;author"\na;b\n',
    "a quote that does not end": b'name,author\na,b\n"c,d\ne,f\n',
    "text after a quote": b'name,author\na,b\n\nc,d\n"e"f,g\nh,i\n',
    "a header that does not fit": b"nmae,author\na,b\n",
    "no header": b"",
    "a byte order mark alone": b"\xef\xbb\xbf",
    "half a byte order mark": b"\xef\xbb",
    "a header in lines": b'"name","author",year\r\na,b,\r\n',
    "UTF-16": "name,author\n".encode("utf-16"),
    "a line that is too long": b"name,author\na,b\n\nc," + b"d" * 2000 + b"\ne,f\n",
    "a record that is too long": b'name,author\na,b\n"' + b"c\n" * 700 + b'",d\ne,f\n',
}
NDJSON_TEXTS = {
    "line ends of all kinds": b'{"name":"a"}\r\n\r\n{"name":"b"}\r{"name":"c"}\n\n \n{"name":"d"}',
    "what is no object": b'[]\n{}\n7\nnull\n"a"\n{"a":1}{}\n{\n}\n',
    "bytes that are no UTF-8": b'{"name":"\xff"}\n\xff\n{"name":"\xf0\x9f\x8e\xb8","\xc3":1}\n\xc3',
    "a byte order mark, and all of Unicode": '\ufeff{"name":"é\u2028\x85🎸"}\n\ufeff{}\n'.encode(),
    "nothing": b"",
    "UTF-16": '{"name":"a"}\n'.encode("utf-16-be"),
    "UTF-16 with a mark": '{"name":"a"}\n'.encode("utf-16"),
    "a line that is too long": b'{"name":"a"}\n\n{"name":"' + b"a" * 2000 + b'"}\n{"name":"b"}\n',
}


def read(feed: RowParser, pieces: Sequence[bytes]) -> list[Any]:
    """Return what a feed makes of a text in pieces: its rows, or what it refuses it with."""
    found: list[Any] = []
    try:
        for chunk in pieces:
            found += feed.feed(chunk, final=False)
        found += feed.feed(b"", final=True)
    except Problem as problem:
        return [(problem.status, problem.detail, problem.errors)]
    return found


def feed_of(kind: type[RowParser]) -> RowParser:
    return kind(BookCreate, [], LONGEST)


def cuts(text: bytes) -> Iterator[list[bytes]]:
    """Give a text cut in two at each of its bytes, and in pieces of each size up to eight."""
    for at in range(len(text)):
        yield [text[:at], text[at:]]
    for size in range(1, 9):
        yield [text[at : at + size] for at in range(0, len(text), size)]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        pytest.param(kind, text, id=f"{kind.__name__}: {name}")
        for kind, texts in ((CsvParser, CSV_TEXTS), (NdjsonParser, NDJSON_TEXTS))
        for name, text in texts.items()
    ],
)
def test_it_does_not_matter_where_a_text_is_cut(kind: type[RowParser], text: bytes) -> None:
    whole = read(feed_of(kind), [text])

    for pieces in cuts(text):
        assert read(feed_of(kind), pieces) == whole


BYTES = st.lists(
    st.sampled_from([*b'"",,\n\r\t {}:[]1a', 0xC3, 0xA9, 0xE2, 0x80, 0xA8, 0xF0, 0x9F, 0xFF, 0xED]),
    max_size=60,
).map(bytes)


@settings(max_examples=150)
@given(text=BYTES, lengths=st.lists(st.integers(0, 7), max_size=40))
@example(text=b'"\n\r"', lengths=[1, 1, 1, 1])
def test_it_does_not_matter_where_any_bytes_are_cut(text: bytes, lengths: list[int]) -> None:
    header, pieces, rest = b"name,author\n", [b""], text
    for length in lengths:
        pieces.append(rest[:length])
        rest = rest[length:]
    pieces.append(rest)

    assert read(feed_of(NdjsonParser), pieces) == read(feed_of(NdjsonParser), [text])
    assert read(feed_of(CsvParser), [header, *pieces]) == read(feed_of(CsvParser), [header + text])


TEXTS = st.text(st.characters(codec="utf-8") | st.sampled_from('",\r\n'), max_size=10)


def in_pieces(content: str, size: int) -> list[bytes]:
    encoded = content.encode()
    return [encoded[at : at + size] for at in range(0, len(encoded), size)]


@settings(max_examples=100)
@given(
    rows=st.lists(st.tuples(TEXTS, TEXTS, TEXTS), max_size=5),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    size=st.integers(1, 30),
)
def test_what_a_csv_writer_writes_is_read_back_with_its_lines(
    rows: list[tuple[str, str, str]], end: str, size: int
) -> None:
    file, lines = io.StringIO(newline=""), []
    writer = csv.writer(file, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerow(["name", "author", "year"])
    for row in rows:
        lines.append(len(io.StringIO(file.getvalue(), newline="").readlines()) + 1)
        writer.writerow(row)

    found = read(feed_of(CsvParser), in_pieces(file.getvalue(), size))

    expected = [
        {"name": a, "author": b, "year": c.removesuffix(".0") if c else None} for a, b, c in rows
    ]
    assert found == list(zip(lines, expected, strict=True))


VALUES = TEXTS | st.integers() | st.none() | st.lists(st.booleans(), max_size=2)


@settings(max_examples=100)
@given(
    objects=st.lists(st.dictionaries(TEXTS, VALUES, max_size=2), max_size=4),
    size=st.integers(1, 30),
)
@pytest.mark.parametrize("ascii_only", [True, False])
def test_what_a_json_writer_writes_is_read_back_with_its_lines(
    objects: list[dict[str, Any]], size: int, *, ascii_only: bool
) -> None:
    lines = [json.dumps(each, ensure_ascii=ascii_only) for each in objects]

    found = read(feed_of(NdjsonParser), in_pieces("\n".join(lines), size))

    assert found == list(enumerate(objects, 1))


def test_what_is_ignored_is_left_out() -> None:
    rows = b"id,name,author,,x\n7,a,b,c,\n"
    lines = b'{"id":7,"name":"a","x":null}\n{"name":"b"}\n{"x":1}\n'

    of_csv = read(CsvParser(BookCreate, ["id", "", "x"], LONGEST), [rows])
    of_ndjson = read(NdjsonParser(BookCreate, ["id", "x", "nowhere"], LONGEST), [lines])

    assert of_csv == [(2, {"name": "a", "author": "b"})]
    assert of_ndjson == [(1, {"name": "a"}), (2, {"name": "b"}), (3, {})]


def test_an_empty_value_is_null_where_null_can_be_and_a_text_elsewhere() -> None:
    rows = read(CsvParser(BookCreate, [], LONGEST), [b'name,author,year\n,"",\n'])

    assert rows == [(2, {"name": "", "author": "", "year": None})]


class ToldCreate(Schema):
    """A body with fields that other programs spell in their own way."""

    number: int | None = None
    is_live: bool | None = None
    share: float | None = None
    label: str | None = None


@pytest.mark.parametrize("separator", [",", ";"])
def test_numbers_and_truths_are_read_as_pandas_and_spreadsheets_write_them(separator: str) -> None:
    lines = [
        "number,is_live,share,label",
        *("1982.0,True,1.0,1.0", "-3.0,FALSE,0.5,True", "1982.5,yes,,TRUE"),
    ]
    text = "\ufeff" + "".join(f"{line}\r\n" for line in lines).replace(",", separator)

    rows = [row for _, row in read(CsvParser(ToldCreate, [], LONGEST), [text.encode()])]

    assert [[*row.values()] for row in rows] == [
        ["1982", "true", "1.0", "1.0"],
        ["-3", "false", "0.5", "True"],
        ["1982.5", "yes", None, "TRUE"],
    ]
    assert ToldCreate.model_validate(rows[0]).number == 1982
    with pytest.raises(ValueError, match=r"2 validation errors"):
        ToldCreate.model_validate(rows[2])


def test_what_semicolons_and_commas_separate_is_refused_by_its_columns() -> None:
    [(status, detail, errors)] = read(feed_of(CsvParser), [b"name;author,year\na,b\n"])

    assert (status, detail.partition(":")[0]) == (422, "The header does not match the fields")
    assert errors[0].pointer == "/name;author"


def test_a_blank_line_is_no_row_even_of_one_column() -> None:
    rows = read(CsvParser(NoteCreate, [], LONGEST), [b'content\na\n\n""\n \nb'])

    assert rows == [
        (2, {"content": "a"}),
        (4, {"content": ""}),
        (5, {"content": " "}),
        (6, {"content": "b"}),
    ]


@pytest.mark.parametrize("kind", [CsvParser, NdjsonParser])
def test_a_text_of_any_length_takes_the_memory_of_a_piece(kind: type[RowParser]) -> None:
    feed = feed_of(kind)
    list(feed.feed(HEADER.encode() if kind is CsvParser else b"", final=False))
    row = b"a,b,1\n" if kind is CsvParser else b'{"name":"a","author":"b"}\n'

    for _ in range(50):
        for _row in feed.feed(row * 100, final=False):
            pass
        assert held(feed) < 200


def held(thing: object) -> int:
    """Return how many characters and lines an object keeps."""
    if isinstance(thing, str | bytes):
        return len(thing)
    if isinstance(thing, list):
        return len(thing) + sum(map(held, thing))
    return sum(map(held, vars(thing).values())) if hasattr(thing, "__dict__") else 0


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\r"])
def test_a_row_may_be_as_long_as_the_limit_whatever_ends_its_line(end: str) -> None:
    max_line = f"{'a' * (LONGEST - 2)},b"
    as_json = json.dumps({"name": "a" * (LONGEST - 12)})

    for size in (1, LONGEST, 2 * LONGEST):
        of_csv = read(feed_of(CsvParser), in_pieces(f"name,author\n{max_line}{end}", size))
        of_ndjson = read(feed_of(NdjsonParser), in_pieces(as_json + end, size))

        assert [line for line, *_ in of_csv] == [2]
        assert [line for line, *_ in of_ndjson] == [1]


def test_a_row_that_is_longer_than_the_limit_is_named_by_its_line() -> None:
    longer = f"{'a' * (LONGEST - 1)},b"
    as_json = json.dumps({"name": "a" * (LONGEST - 11)})
    sentence = f"Line 3 is longer than {LONGEST} characters."

    for end in ("", "\n", "\r\n", "\n\n"):
        assert read(feed_of(CsvParser), [f"name,author\na,b\n{longer}{end}".encode()]) == [
            (413, sentence, ())
        ]
        assert read(feed_of(NdjsonParser), [f"{{}}\n\n{as_json}{end}".encode()]) == [
            (413, sentence, ())
        ]
