"""The query string of a list: what each parameter finds, and what is refused, by name."""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from json import loads
from typing import Any, cast
from urllib.parse import quote, urlencode
from uuid import UUID

import pytest
from httpx import AsyncClient
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    BigInteger,
    Boolean,
    Date,
    DateTime,
    Double,
    Integer,
    Numeric,
    String,
    Uuid,
    delete,
)
from sqlalchemy.engine import URL
from sqlalchemy.types import TypeEngine
from sqlmodel.ext.asyncio.session import AsyncSession

from songbook.crud.records import Records
from songbook.db.database import Database
from songbook.lists import estimates, pages
from songbook.models.field_types import EQUAL
from songbook.models.tables import table_of
from songbook.models.text_values import text_parser
from tests.samples.resources.books import Book
from tests.support.asserts import assert_problem
from tests.support.databases import execute
from tests.support.lists import page_statement_of
from tests.support.marks import slow
from tests.support.samples import SAMPLES, TYPES, Sample, SamplePublic
from tests.support.texts import CHARACTERS

LIBRARY = [
    ("Thunderstruck", "AC/DC", 1990),
    ("Hold On Loosely", ".38 Special", 1981),
    ("100% pure_love", "Crystal Waters", 1994),
    ("100 proof", "Kellie\\Pickler", None),
    ("Élan", "Nightwish", 2015),
    ("<script>alert('x')</script>", 'O\'Hara & "Sons"', None),
    ("Καλημέρα Ήλιε", "Ντέμης", 1),
    ("99 Luftballons", "Nena", 9999),
]


@pytest.fixture
async def library(session: AsyncSession) -> None:
    """Store some books."""
    session.add_all(Book(name=name, author=author, year=year) for name, author, year in LIBRARY)
    await session.commit()


def first_words(names: Sequence[str]) -> list[str]:
    return [name.split()[0] for name in names]


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ([("name", "Thunderstruck")], ["Thunderstruck"]),
        ([("name", "thunderstruck")], []),
        ([("name", "Thunder")], []),
        ([("name", " Thunderstruck")], []),
        ([("name", "")], []),
        ([("author", 'O\'Hara & "Sons"')], ["<script>alert('x')</script>"]),
        ([("year", "1990"), ("year", "2015")], ["Thunderstruck", "Élan"]),
        ([("year", "1990"), ("year", "1990")], ["Thunderstruck"]),
        ([("year", "1990"), ("name", "Élan")], []),
        ([("year", "")], ["100", "<script>alert('x')</script>"]),
        ([("year", ""), ("year", "")], ["100", "<script>alert('x')</script>"]),
        ([("year", ""), ("year", "1")], ["100", "<script>alert('x')</script>", "Καλημέρα"]),
        ([("year", ""), ("year", "1"), ("year", "2015"), ("id_lt", "6")], ["100", "Élan"]),
        ([("year", "99999")], []),
        ([("year", "-2147483648")], []),
        ([("year", "01990")], ["Thunderstruck"]),
        ([("id", "1"), ("id", "5"), ("id", "77")], ["Thunderstruck", "Élan"]),
        ([("id", "-9223372036854775808")], []),
        ([("year_gt", "1994")], ["Élan", "99"]),
        ([("year_gte", "1994"), ("year_lt", "9999")], ["100%", "Élan"]),
        ([("year_lte", "1")], ["Καλημέρα"]),
        ([("year_lt", "-5")], []),
        ([("year_not", "1990"), ("id_lt", "5")], ["Hold", "100%", "100"]),
        ([("year_not", "1990"), ("year_not", "1994"), ("id_lt", "5")], ["Hold", "100"]),
        ([("year_not", ""), ("id_lt", "7")], ["Thunderstruck", "Hold", "100%", "Élan"]),
        ([("year_not", ""), ("year_not", "1990"), ("id_lt", "5")], ["Hold", "100%"]),
        ([("year_not", ""), ("year_not", "1"), ("id_gt", "4")], ["Élan", "99"]),
        ([("year_not", "99999"), ("year", "1")], ["Καλημέρα"]),
        ([("name_not", "100 proof"), ("q", "100")], ["100%"]),
        ([("name_not", ""), ("id_lt", "2")], ["Thunderstruck"]),
        ([("name_starts", "Thunder")], ["Thunderstruck"]),
        ([("name_starts", "thunder")], []),
        ([("name_starts", "hunder")], []),
        ([("name_starts", "100% pure_")], ["100%"]),
        ([("name_starts", "100_")], []),
        ([("name_starts", "%")], []),
        ([("author_starts", "Kellie\\P")], ["100"]),
        ([("author_starts", "Kellie\\\\P")], []),
        ([("name_starts", "Καλημέρα Ή")], ["Καλημέρα"]),
        ([("name_starts", "")], first_words([name for name, _, _ in LIBRARY])),
        ([("name_contains", "UNDER")], ["Thunderstruck"]),
        ([("name_contains", "éL")], ["Élan"]),
        ([("name_contains", "ήλιΕ")], ["Καλημέρα"]),
        ([("name_contains", "%")], ["100%"]),
        ([("name_contains", "_")], ["100%"]),
        ([("name_contains", "0_")], []),
        ([("author_contains", "\\")], ["100"]),
        ([("author_contains", "\\p")], ["100"]),
        ([("author_contains", "/"), ("name_contains", "s")], ["Thunderstruck"]),
        ([("name_contains", " ")], ["Hold", "100%", "100", "Καλημέρα", "99"]),
        ([("name_contains", "")], first_words([name for name, _, _ in LIBRARY])),
        ([("q", "thunderstruck")], ["Thunderstruck"]),
        ([("q", "thunder")], []),
        ([("q", "dc thunderSTRUCK")], ["Thunderstruck"]),
        ([("q", "AC/DC")], ["Thunderstruck"]),
        ([("q", "acdc")], []),
        ([("q", ".38")], ["Hold"]),
        ([("q", "38 on")], ["Hold"]),
        ([("q", "on the")], []),
        ([("q", "ÉLAN")], ["Élan"]),
        ([("q", "ΉΛΙΕ")], ["Καλημέρα"]),
        ([("q", "<script>")], ["<script>alert('x')</script>"]),
        ([("q", "script o'hara")], ["<script>alert('x')</script>"]),
        ([("q", "'x'")], ["<script>alert('x')</script>"]),
        ([("q", "100")], ["100%", "100"]),
        ([("q", "100%")], ["100%", "100"]),
        ([("q", "100 & !proof")], ["100"]),
        ([("q", "pure_love")], ["100%"]),
        ([("q", "pu:*")], []),
        ([("q", "pu*")], ["100%"]),
        ([("q", "THUN* a*")], ["Thunderstruck"]),
        ([("q", "thun* d")], []),
        ([("q", "thun* ac d*")], ["Thunderstruck"]),
        ([("q", "o'ha*")], ["<script>alert('x')</script>"]),
        ([("q", "éla* night*")], ["Élan"]),
        ([("q", "1* p*** p*")], ["100%", "100"]),
        ([("q", "pu*e")], []),
        ([("q", "*pure *love")], ["100%"]),
        ([("q", "pu !* *")], []),
        ([("q", "\u2603*")], []),
        ([("q", "x" * 3000 + "*")], []),  # too long for a word of PostgreSQL
        ([("q", "pure " + "x" * 3000 + "*")], ["100%"]),
        ([("q", "99"), ("year", "9999")], ["99"]),
        ([("q", "99"), ("year", "1990")], []),
    ],
)
async def test_a_filter_finds_what_it_says(
    client: AsyncClient, asked: list[tuple[str, str]], found: list[str]
) -> None:
    answer = await client.get(f"/books?{urlencode(asked)}")

    assert answer.status_code == 200, answer.text
    assert first_words([book["name"] for book in answer.json()]) == found


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(
    "blank", ["", " ", "%20+%20", "%09%0A", "!!!", ":*", "*", "**+*", "%26%20|%20!", "'", '"', "\\"]
)
async def test_a_search_without_words_finds_everything(client: AsyncClient, blank: str) -> None:
    answer = await client.get(f"/books?q={blank}")

    assert len(answer.json()) == len(LIBRARY)


@pytest.mark.long
@settings(max_examples=50)
@given(text=st.text(CHARACTERS, max_size=30))
@example("%_\\")
@example("\\%")
@example("' OR 1=1 -- \" ; DROP TABLE book; \\")
@example("a & !b | (c <-> d):*A")
@example("Mid* \u2603* '* e\u0301t*")
@example("${jndi:ldap://x} {{7*7}} %s %n \ufffd \U0010ffff")
async def test_every_text_is_legal_and_means_itself(client: AsyncClient, text: str) -> None:
    stored = (await client.post("/books", json={"name": f"<{text}>", "author": "b"})).json()
    middle = text[len(text) // 3 : len(text) // 2 + 1]
    words = re.findall(r"[A-Za-z0-9\u0080-\U0010ffff]+", text)

    for asked in (
        {"name": f"<{text}>"},
        {"name_contains": text},
        {"name_starts": f"<{text}"},
        {"name_contains": middle},
        {"q": text},
        {"q": " ".join(reversed(words)).swapcase() if text.isascii() else " ".join(words)},
    ):
        answer = await client.get("/books", params={**asked, "id": stored["id"]})
        assert answer.json() == [stored], asked
    assert (await client.get("/books", params={"name": f"<{text}>!"})).json() == []


async def test_a_search_may_be_as_long_as_an_address(client: AsyncClient) -> None:
    for long in ("a" * 60_000, "a " + " " * 20_000, "a " * 64, "\\" * 20_000):
        answer = await client.get("/books", params={"q": long})
        assert answer.status_code == 200
        assert answer.json() == []


@pytest.mark.usefixtures("library")
async def test_bytes_that_are_no_text_are_replaced(client: AsyncClient) -> None:
    for bad in ("%ff", "%ED%A0%80", "%C0%AF", "%zz", "%"):
        for name in ("q", "name", "name_contains"):
            answer = await client.get(f"/books?{name}=Thunder{bad}")
            assert answer.status_code == 200
            assert answer.json() == []


@pytest.mark.usefixtures("library")
async def test_a_count_is_of_all_rows_that_were_asked_for(client: AsyncClient) -> None:
    for asked, count in [({}, 8), ({"year_gt": "1990"}, 3), ({"q": "100"}, 2), ({"id": "99"}, 0)]:
        first = await client.get("/books", params={"limit": 1, "count": "exact", **asked})
        assert first.headers["x-total-count"] == str(count)
        if "next" in first.links:
            second = await client.get(first.links["next"]["url"])
            assert second.headers["x-total-count"] == str(count)
        assert "x-total-count" not in (await client.get("/books", params=asked)).headers


@pytest.mark.usefixtures("library")
async def test_a_count_that_costs_little_is_no_estimate(client: AsyncClient) -> None:
    answer = await client.get("/books?count=estimated&limit=1&year_gt=1990")

    assert answer.headers["x-total-count"] == "3"
    assert "x-total-count-estimated" not in answer.headers
    assert (await client.get("/notes?count=estimated")).headers["x-total-count"] == "0"


@pytest.fixture
def thousand_books(client: AsyncClient, database_url: URL, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001 - the tables are empty
    """Store a thousand books, which are too many to count."""
    monkeypatch.setattr(estimates, "MAX_COST", 1)
    numbers = "SELECT n, 'a', n % 10 + 1 FROM generate_series(1, 1000) AS n"
    execute(database_url, f"INSERT INTO book (name, author, year) {numbers}", "ANALYZE book")


@pytest.mark.usefixtures("thousand_books")
async def test_a_count_of_many_rows_may_be_an_estimate(client: AsyncClient) -> None:
    for query, least, most in (("", 1000, 1000), ("year_not=3", 850, 950), ("q=a", 500, 1500)):
        answer = await client.get(f"/books?count=estimated&limit=1&{query}")
        assert least <= int(answer.headers["x-total-count"]) <= most
        assert answer.headers["x-total-count-estimated"] == "true"
        exact = await client.get(f"/books?count=exact&limit=1&{query}")
        assert "x-total-count-estimated" not in exact.headers
    following = await client.get(answer.links["next"]["url"])
    assert following.headers["x-total-count-estimated"] == "true"


@pytest.mark.usefixtures("thousand_books")
async def test_an_estimate_contradicts_no_page(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def estimate_total(*_: object) -> int:
        return 3

    monkeypatch.setattr(pages, "estimate_total", estimate_total)
    for query, total, estimated in (
        ("q=no+such", "0", None),
        ("name=7", "1", None),
        ("limit=9", "10", "true"),
        ("limit=9&sort=-id", "10", "true"),
    ):
        answer = await client.get(f"/books?count=estimated&{query}")
        assert answer.headers["x-total-count"] == total
        assert answer.headers.get("x-total-count-estimated") == estimated
    last = await client.get(
        (await client.get("/books?count=estimated&limit=999")).links["next"]["url"]
    )
    assert (len(last.json()), last.headers["x-total-count"]) == (1, "3")
    assert last.headers["x-total-count-estimated"] == "true"


@pytest.mark.parametrize(
    ("query", "pointer", "says"),
    [
        ("limti=5", "limti", "did you mean `limit`?"),
        ("Limit=5", "Limit", "did you mean `limit`?"),
        ("yaer_gte=5", "yaer_gte", "did you mean `year_gte`?"),
        ("year_gtr=5", "year_gtr", "did you mean `year_gt"),
        ("year__gte=5", "year__gte", "did you mean `year_gte`?"),
        ("nmae=a", "nmae", "did you mean `name`?"),
        ("name_contain=a", "name_contain", "did you mean `name_contains`?"),
        ("after_=a", "after_", "did you mean `after`?"),
        ("offset=5", "offset", "Unknown parameter"),
        ("version=1", "version", "Unknown parameter"),
        ("name_gt=a", "name_gt", "Unknown parameter"),
        ("year_contains=1", "year_contains", "Unknown parameter"),
        ("year_starts=1", "year_starts", "Unknown parameter"),
        ("name_start=a", "name_start", "did you mean `name_starts`?"),
        ("a[b][c]=1", "a[b][c]", "Unknown parameter"),
        ("=1", "", "Unknown parameter"),
        ("n%00=1", "n\0", "Unknown parameter"),
        ("sort=yaer", "sort", "did you mean `year`?"),
        ("sort=version", "sort", "sortable fields"),
        ("sort=year_gt", "sort", "sortable fields"),
        ("sort=", "sort", "sortable fields"),
        ("sort=-", "sort", "sortable fields"),
        ("sort=--year", "sort", "sortable fields"),
        ("sort=%2Byear", "sort", "sortable fields"),
        ("sort=name,", "sort", "sortable fields"),
        ("sort=name;drop table", "sort", "sortable fields"),
        ("sort=__class__", "sort", "sortable fields"),
        ("sort=name, year", "sort", "sortable fields"),
        ("sort=name,-name", "sort", "once"),
        ("sort=" + ",".join(["name"] * 1000), "sort", "once"),
        ("sort=name&sort=year", "sort", "once"),
        ("limit=1&limit=1", "limit", "once"),
        ("q=a&q=b", "q", "once"),
        ("after=a&after=a", "after", "once"),
        ("count=exact&count=exact", "count", "once"),
        ("year_gt=1&year_gt=2", "year_gt", "once"),
        ("name_contains=a&name_contains=b", "name_contains", "once"),
        ("&".join(["year=1"] * 101), "year", "at most 100 times"),
        ("count=yes", "count", "`exact`"),
        ("count=", "count", "`exact`"),
        ("year=99999999999", "year", "-2147483648 to 2147483647"),
        ("year=2147483648", "year", "-2147483648 to 2147483647"),
        ("year_gt=-2147483649", "year_gt", "-2147483648 to 2147483647"),
        ("id=9223372036854775808", "id", "-9223372036854775808 to 9223372036854775807"),
        ("id=", "id", "valid integer"),
        ("year_gt=", "year_gt", "valid integer"),
        ("name=%00", "name", "NUL"),
        ("q=%00", "q", "NUL"),
        ("name=a&name=b%00c", "name", "NUL"),
        ("author_contains=a%00", "author_contains", "NUL"),
        ("author_starts=a%00", "author_starts", "NUL"),
        ("author_starts=" + "a" * 256, "author_starts", "at most 255 characters"),
        ("name_starts=a&name_starts=b", "name_starts", "once"),
        ("year_not=a", "year_not", "integer"),
        ("&".join(["year_not=1"] * 101), "year_not", "at most 100 times"),
        ("author_contains=" + "a" * 256, "author_contains", "at most 255 characters"),
        ("q=" + "+".join("a" * 65), "q", "at most 64 words"),
        ("q=" + ".".join("a" * 65), "q", "at most 64 words"),
    ],
)
async def test_a_parameter_that_does_not_fit_is_named(
    client: AsyncClient, query: str, pointer: str, says: str
) -> None:
    problem = assert_problem(await client.get(f"/books?{query}"), 422, "validation")

    [error] = problem["errors"]
    assert error["pointer"] == f"/{pointer}"
    assert error["location"] == "query"
    assert says in error["detail"]
    assert "version" not in error["detail"]


@pytest.mark.parametrize("path", ["/books", "/books/1"])
async def test_only_the_first_of_many_unknown_parameters_are_explained(
    client: AsyncClient, path: str
) -> None:
    query = "&".join(f"nam{nth}=a" for nth in range(99))

    problem = assert_problem(await client.get(f"{path}?{query}"), 422, "validation")

    assert len(problem["errors"]) == 20
    hints = [error for error in problem["errors"] if "did you mean" in error["detail"]]
    assert hints == (problem["errors"][:3] if path == "/books" else [])


NO_NUMBERS = ["1e3", "1.0", "1.5", "0x10", "1_000", "+5", "%2B5", "5%20", "5%0A", "true", "NaN"]
NO_DIGITS = ["\u0665", "\u096b", "\uff15", "\u00b2", "\u2164", "--5", "5-", "%00", "%ff"]
TOO_MANY = ["9" * 20, "9" * 5000, "0" * 5000 + "1"]


@pytest.mark.parametrize("value", [*NO_NUMBERS, *NO_DIGITS, *TOO_MANY])
async def test_a_number_is_written_in_ascii_digits_and_nothing_else(
    client: AsyncClient, value: str
) -> None:
    for name in ("limit", "id", "year", "year_gte"):
        assert_problem(await client.get(f"/books?{name}={value}"), 422, "validation")


@pytest.mark.parametrize("limit", ["0", "-1", "1001", "1000000000", "", "%20"])
async def test_a_limit_is_one_to_a_thousand(client: AsyncClient, limit: str) -> None:
    assert_problem(await client.get(f"/books?limit={limit}"), 422, "validation")


async def test_every_violation_is_listed_in_one_answer(client: AsyncClient) -> None:
    query = "limit=0&sort=x&count=1&q=%00&year=a&year_gt=b&id=c&nmae=d&name_contains=%00&after=x"

    problem = assert_problem(await client.get(f"/books?{query}"), 422, "validation")

    assert [error["pointer"] for error in problem["errors"]] == [
        "/limit",
        "/sort",
        "/count",
        "/q",
        "/year",
        "/year_gt",
        "/id",
        "/nmae",
        "/name_contains",
    ]


@pytest.mark.parametrize("query", ["?", "?&", "?&&&", "/?"])
async def test_a_question_mark_asks_for_nothing(client: AsyncClient, query: str) -> None:
    assert (await client.get(f"/books{query}")).json() == []


@pytest.mark.usefixtures("library")
async def test_a_hundred_values_are_taken_and_450_parameters_are_read(
    client: AsyncClient,
) -> None:
    years = "&".join(f"year={year}" for year in range(1901, 2001))
    assert len((await client.get(f"/books?{years}")).json()) == 3

    for count in (451, 10_000):
        begun = time.process_time()
        answer = await client.get("/books?" + "&".join(["id=1"] * count))
        assert "more than 450" in assert_problem(answer, 422)["detail"]
        assert time.process_time() - begun < 0.5


async def test_a_long_name_is_not_repeated(client: AsyncClient) -> None:
    answer = await client.get(f"/books?{'x' * 10_000}=secret")

    [error] = assert_problem(answer, 422)["errors"]
    assert len(error["pointer"]) < 100
    assert "secret" not in answer.text


MOMENT = datetime(2024, 2, 29, 23, 30, tzinfo=UTC)
TOKEN = UUID("12345678-9abc-def0-1234-56789abcdef0")
READ: list[tuple[TypeEngine[Any], str, Any]] = [
    (Integer(), "-2147483648", -(2**31)),
    (BigInteger(), "9223372036854775807", 2**63 - 1),
    (String(), " é\n", " é\n"),
    (Boolean(), "true", True),
    (Boolean(), "false", False),
    (Date(), "2024-02-29", date(2024, 2, 29)),
    (Numeric(), "-12.50", Decimal("-12.50")),
    (Double(), "1e+300", 1e300),
    (Double(), "-0.5", -0.5),
    (Uuid(), str(TOKEN), TOKEN),
    (Uuid(), str(TOKEN).upper(), TOKEN),
    (DateTime(timezone=True), "2024-02-29T23:30:00+00:00", MOMENT),
    (DateTime(timezone=True), "2024-02-29T23:30:00 00:00", MOMENT),
    (DateTime(timezone=True), "2024-02-29T23:30:00 0000", MOMENT),
    (DateTime(timezone=True), "2024-03-01 01:30:00 02:00", MOMENT),
    (DateTime(timezone=True), "2024-02-29T18:30:00-05:00", MOMENT),
    (DateTime(timezone=True), "2024-02-29T23:30:00Z", MOMENT),
    (DateTime(timezone=True), "2024-02-29T23:30Z", MOMENT),
]
REFUSED: list[tuple[TypeEngine[Any], str]] = [
    (Integer(), "2147483648"),
    (BigInteger(), "9223372036854775808"),
    (Numeric(), "1e3"),
    (Double(), "1e999"),
    (String(), "a\0"),
    *((Boolean(), text) for text in ["", "True", "1", "0", "yes", "on", "t", " true", "null"]),
    *((Date(), text) for text in ["", "2024-02-30", "0000-01-01", "2024-2-9", "20240229", "0"]),
    *(
        (Date(), text)
        for text in ["1709251200", "2024-02-29T00:00:00", "2024-02-29 ", "\uff12024-02-29"]
    ),
    *((Numeric(), text) for text in ["", "NaN", "Infinity", "1_000", " 1", "٣", "+5", ".5", "0x1"]),
    *((Double(), text) for text in ["", "nan", "inf", "-Infinity", "1_000", "1 ", "1,5", "0x1p3"]),
    *((Uuid(), text) for text in ["", "1", TOKEN.hex, f"{{{TOKEN}}}", f"urn:uuid:{TOKEN}"]),
    (DateTime(timezone=True), ""),
    (DateTime(timezone=True), "1709251200"),
    (DateTime(timezone=True), "2024-02-29"),
    (DateTime(timezone=True), "2024-02-29T23:30:00"),
    (DateTime(timezone=True), "2024-02-30T23:30:00Z"),
    (DateTime(timezone=True), "2024-02-29T24:30:00Z"),
    (DateTime(timezone=True), " 2024-02-29T23:30:00Z"),
    (DateTime(timezone=True), "2024-02-29T23:30:00  00:00"),
    (DateTime(timezone=True), "0001-01-01T00:00:00+00:01"),
    (DateTime(timezone=True), "9999-12-31T23:59:59-00:01"),
    (DateTime(timezone=True), "infinity"),
]


def parser_of(kind: TypeEngine[Any]) -> Callable[[str], Any]:
    """Return what parses the value of a filter of a column of this type."""
    return text_parser(cast("Any", kind.python_type), wide=isinstance(kind, BigInteger))


@pytest.mark.parametrize(("kind", "text", "value"), READ)
def test_a_value_is_read_as_json_spells_it(kind: TypeEngine[Any], text: str, value: Any) -> None:
    read = parser_of(kind)(text)

    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(("kind", "text"), REFUSED)
def test_a_value_in_another_spelling_is_refused(kind: TypeEngine[Any], text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parser_of(kind)(text)


def as_copied(value: Any) -> str:
    """Return what a person copies from an answer."""
    if value is None:
        return ""
    return value if isinstance(value, str) else str(value).lower()


def queries_of(name: str, value: Any) -> Iterator[tuple[str, bool]]:
    """Give queries by a value of a response, and whether they find its row."""
    if isinstance(value, list):
        yield f"{name}_has=no such item", False
        yield from ((f"{name}_has={quote(item)}", True) for item in value[-3:])
    if EQUAL in TYPES[name].filters:
        copied = as_copied(value)
        for escaped in {quote(copied), quote(copied, safe="+:" if name == "moment" else "")}:
            yield f"{name}={escaped}", True
            if value is not None and "_gt" in TYPES[name].filters:
                yield f"{name}_gte={escaped}&{name}_lte={escaped}", True
                yield f"{name}_gt={escaped}", False
                yield f"{name}_lt={escaped}", False


@slow
@pytest.mark.long
@settings(max_examples=25)
@given(sample=SAMPLES)
async def test_a_value_copied_from_an_answer_finds_its_row(
    sample_database: Database, sample: dict[str, Any]
) -> None:
    async with sample_database.engine.begin() as connection:
        await connection.execute(delete(table_of(Sample)))
    row = await sample_database.fetch(Records(Sample, SamplePublic).insert(sample))
    assert row
    document = loads(row[2], parse_int=str, parse_float=str)

    for field in TYPES:
        for query, finds in queries_of(field, document[field]):
            found = await sample_database.fetch(page_statement_of(Sample, SamplePublic, query))
            assert found
            assert found["number"] == finds, query


async def test_the_marks_of_typographers_are_no_parts_of_words(client: AsyncClient) -> None:
    books = {
        "\u201cHeroes\u201d": "heroes",
        "Rock\u2014Roll": "roll",
        "It\u2019s": "it's",
        "\u65e5\u672c\u3001\u30c6\u30b9\u30c8": "\u30c6\u30b9\u30c8",
    }
    for name, word in books.items():
        await client.post("/books", json={"name": name, "author": "x"})

        found = await client.get("/books", params={"q": word})

        assert [book["name"] for book in found.json()] == [name]
