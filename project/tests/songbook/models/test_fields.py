"""The values of a field of every type: stored, answered, found, exported, imported or refused."""

import json
import re
from collections.abc import AsyncIterator
from typing import Any, ClassVar
from urllib.parse import quote, urlencode

import pytest
from fastapi import FastAPI
from httpx import AsyncClient, Response
from sqlalchemy import MetaData, text
from sqlalchemy.exc import DBAPIError
from sqlmodel import Field, SQLModel

from songbook.http.media_types import CSV, NDJSON
from songbook.lists.filters import filters_of, sortable_fields
from songbook.models import Representation
from tests.support.asserts import assert_problem
from tests.support.marks import slow
from tests.support.offers import Offer, OfferPublic, exported, found, offer
from tests.support.reports import counts, refusals, report_of, send_rows, written

JSON_BODY = {"Content-Type": "application/json"}
DAYS = ["0001-01-01", "2026-01-31", "9999-12-31"]
MOMENTS = [
    "0001-01-01T00:00:00+00:00",
    "2026-01-31T11:00:00+00:00",
    "9999-12-31T23:59:59.999999+00:00",
]


@pytest.fixture
async def extremes(offers: AsyncClient) -> list[int]:
    """Store the first, the last and another date and time; return their ids, oldest first."""
    stored = [
        await offer(offers, day=day, moment=moment)
        for day, moment in zip(DAYS, MOMENTS, strict=True)
    ]
    assert [(each["day"], each["moment"]) for each in stored] == [*zip(DAYS, MOMENTS, strict=True)]
    return [each["id"] for each in stored]


async def test_the_first_and_the_last_date_are_no_infinities(
    offering: FastAPI, offers: AsyncClient, extremes: list[int]
) -> None:
    query = (
        "SELECT isfinite(day), day = 'infinity', isfinite(moment), moment = 'infinity' FROM offer"
    )
    async with offering.state.service.database.engine.connect() as connection:
        rows = [tuple(row) for row in await connection.execute(text(query))]

    assert rows == [(True, False, True, False)] * 3
    for number, day, moment in zip(extremes, DAYS, MOMENTS, strict=True):
        answer = (await offers.get(f"/offers/{number}")).json()
        assert (answer["day"], answer["moment"]) == (day, moment)


async def test_the_first_and_the_last_date_are_found_by_filters_and_in_order(
    offers: AsyncClient, extremes: list[int]
) -> None:
    first, middle, last = extremes

    for name, values in (("day", DAYS), ("moment", MOMENTS)):
        assert await found(offers, f"sort={name}") == extremes
        assert await found(offers, f"sort=-{name}") == extremes[::-1]
        start, _, end = (quote(value) for value in values)
        for number, value in zip(extremes, values, strict=True):
            assert await found(offers, f"{name}={quote(value)}") == [number]
        assert await found(offers, f"{name}={start}&{name}={end}") == [first, last]
        assert await found(offers, f"{name}={start}&{name}={end}&{name}=") == [first, last]
        assert await found(offers, f"{name}_gt={start}") == [middle, last]
        assert await found(offers, f"{name}_gte={end}") == [last]
        assert await found(offers, f"{name}_lt={end}") == [first, middle]
        assert await found(offers, f"{name}_lte={start}") == [first]


async def walked(client: AsyncClient, path: str) -> list[int]:
    """Return the ids of all the pages of a list."""
    ids = []
    while True:
        page = await client.get(path)
        assert page.status_code == 200, page.text
        ids += [each["id"] for each in page.json()]
        if "next" not in page.links:
            return ids
        path = page.links["next"]["url"]


@pytest.mark.usefixtures("extremes")
async def test_a_list_is_walked_past_the_first_and_the_last_date(offers: AsyncClient) -> None:
    await offer(offers)  # with none

    for name in ("day", "moment"):
        assert await walked(offers, f"/offers?limit=1&sort={name}") == [1, 2, 3, 4]
        assert await walked(offers, f"/offers?limit=1&sort=-{name}") == [4, 3, 2, 1]


TOKEN = "0190163d-8694-739b-aea5-966c26f8ad91"
# What is sent and what is answered, where that is not the same.
TAKEN: dict[str, list[Any]] = {
    "name": [(" a\u00a0b ", "a\u00a0b"), "NULL", "\\N", "{}", '"', "x" * 255, "a\tb\r\nc", "𝄞"],
    "nick": [("\u3000ab ", "ab"), None],
    "note": ["", "x" * 5000, None],
    "year": [7, ("7", 7), (7.0, 7), (1e3, 1000), (-0.0, 0), -(2**31), 2**31 - 1],
    "tempo": [20, ("400", 400)],
    "plays": [0, 10**12, ("1000000000000", 10**12)],
    "maker_id": [1, ("1", 1)],
    "live": [True, False, ("true", True), ("false", False)],
    "gain": [1.5, ("2.5", 2.5), (1, 1), 5e-324, 1.7976931348623157e308, (-0.0, 0), 1e22, 0.1],
    "share": [0, 0.9999999999999999],
    "price": [
        ("9.9", "9.90"),
        (9.9, "9.90"),
        (7, "7.00"),
        "-999999.99",
        "999999.99",
        (-0.0, "0.00"),
    ],
    "fee": [
        (1e-9, "0.000000001"),
        (123456.789012345, "123456.789012345000000"[:-6]),
        "1.000000000",
    ],
    "day": DAYS,
    "moment": [
        *MOMENTS,
        ("2026-01-31T12:00:00+02:00", "2026-01-31T10:00:00+00:00"),
        ("2026-01-31 12:00:00.5Z", "2026-01-31T12:00:00.5+00:00"),
        ("0001-01-01T00:00:00-14:00", "0001-01-01T14:00:00+00:00"),
    ],
    "starts": ["00:00:00", "23:59:59.999999", ("12:00:00.5", "12:00:00.5")],
    "token": [TOKEN, (TOKEN.upper(), TOKEN)],
    "genre": ["rock", "R&B, 'soul'", None],
    "mood": ["calm", "very wild", None],
    "tags": [
        [],
        ["b", "a", "a"],
        ([" a\u00a0"], ["a"]),
        ["NULL", "null", "{}", '"', "\\", ",", "a\tb\nc", "\\N", "\\.", "𝄞"],
        ["x" * 255] * 100,
        None,
    ],
    "details": [
        {},
        {
            "a": [1, {"b": None}],
            "": "",
            "\\": '"\t\n',
            "c": True,
            "d": -1.5e10,
            "e": 1e-30,
            "f": 0.0,
        },
        {"a": 10**30, "b": "x" * 9900},
        None,
    ],
    "email": ["Ada.L+x@example.org"],
    "site": ["https://example.org:8080/a?b=c#d", "http://[::1]/"],
}


@pytest.mark.parametrize("name", TAKEN)
async def test_a_value_is_answered_exported_and_imported_the_same(
    offers: AsyncClient, name: str
) -> None:
    values = [value if isinstance(value, tuple) else (value, value) for value in TAKEN[name]]
    await offer(offers)

    for value, answered in values:
        stored = await offer(offers, **{name: value})
        changed = await offers.patch("/offers/1", json={name: value})
        for each in (stored, changed.json()):
            assert (each[name], type(each[name])) == (answered, type(answered))
    for kind in (NDJSON, CSV):
        content = await exported(offers, kind, f"?id_gt=1&limit={len(values)}")
        sent = await send_rows(offers, content, "?ignore=id", path="/offers", kind=kind)
        assert counts(report_of(sent)) == (len(values), len(values), 0, 0)
        again = (await offers.get(f"/offers?sort=-id&limit={len(values)}")).json()[::-1]
        # an empty value in CSV is null
        wanted = [None if kind == CSV and each == "" else each for _, each in values]
        assert [each[name] for each in again] == wanted


def cell(value: Any) -> str:
    """Return a value as CSV has it."""
    return value if isinstance(value, str) else json.dumps(value)


async def ways(
    client: AsyncClient, fields: dict[str, Any], *, also_csv: bool = True
) -> dict[str, Response]:
    """Send fields in every way; return the answers."""
    body, kind = json.dumps({"name": "a", **fields}).encode(), {"Content-Type": "application/json"}
    row = {"name": "a", **{name: cell(value) for name, value in fields.items()}}
    rows = written([row], CSV, errors="surrogatepass")
    answers = {
        "POST": await client.post("/offers", content=body, headers=kind),
        "PUT": await client.put("/offers/1", content=body, headers=kind),
        "PATCH": await client.patch("/offers/1", content=body, headers=kind),
        "NDJSON": await send_rows(client, body, path="/offers", kind=NDJSON),
    }
    if also_csv:
        answers["CSV"] = await send_rows(client, rows, path="/offers")
    return answers


REFUSED: dict[str, list[Any]] = {
    "name": ["", " \u3000", "a\0b", "x" * 256, "\ud800", "a\udfffb"],
    "nick": ["AB", "a" * 21, "ab1", "é"],
    "note": ["\0", "x" * 5001],
    "year": [
        *("1_0", " 1", "1 ", "+1", "01", "-0", "1.0", "1e3", "", "٣", "0x1", 1.5, True, False),
        *(2**31, -(2**31) - 1, "2147483648", 1e300, "NaN", [], {}, "1" * 4000),
    ],
    "tempo": [19, 401, "19"],
    "plays": [-1, 10**12 + 1],
    "maker_id": [True, "1_0", 2**63, "9223372036854775808", 1.5],
    "live": ["yes", "on", "1", "True", "TRUE", "t", 1, 0, 1.0, []],
    "gain": [
        *("NaN", "nan", "inf", "Infinity", "-inf", "1e400", "1e5000", "1_0", " 1 ", "+1", ".5"),
        *("1.", "٣", "0x1p3", "1,5", "9" * 4000, True, False, []),
    ],
    "share": [1, -0.1, "1", 1e300],
    "price": [
        *("NaN", "sNaN", "Infinity", "1e2", "1e5000", "1_000", " 1 ", "+1", ".5", "1.", "٣", ""),
        *("9.999", "1000000", "1,5", "9" * 4000, 9.999, 1000000, 1e22, 1e300, True, []),
    ],
    "fee": [0, "-1", 1e-10, 0.1234567890123456, 123456.78901234567],
    "day": [
        *("2026-1-31", "2026-01-31T00:00:00", "20260131", "2026-02-30", "0000-01-01", "today"),
        *("10000-01-01", " 2026-01-31", "infinity", "-infinity", "1767225600", "٢026-01-31"),
        *(0, 1.5, True),
    ],
    "moment": [
        *("2026-01-31T12:00:00", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00"),
        *("2026-01-31", "1767225600", "2026-01-31T25:00:00Z", "2026-01-31T12:00Z", "now"),
        *("2026-01-31T23:59:60Z", "2026-01-31T12:00:00+25:00", "infinity", 0, 1767225600, True),
        *("2026-01-31T12:00:00.1234567Z", "2026-01-31T12:00:00+0200"),
    ],
    "starts": ["12:00", "24:00:00", "12:00:00Z", "12:00:00+02:00", 0, 43200, "43200", "12:00:60"],
    "token": [
        *("{" + TOKEN + "}", f"urn:uuid:{TOKEN}", TOKEN.replace("-", ""), TOKEN[:-1], f" {TOKEN}"),
        *(1, TOKEN + "\n"),
    ],
    "genre": ["", "Rock", "rock ", "pop", 1, True, [], "rock\0"],
    "mood": ["CALM", "WILD", "calm ", 0, [], "Mood.CALM"],
    "tags": [
        *("a", "{a}", {}, {"0": "a"}, 1, [""], [" "], ["a\0"], [1], [None], [["a"]], [True]),
        *(["x" * 256], ["a"] * 101, ["\ud800"]),
    ],
    "details": [
        *("a", "{a}", [], [1], 1, True, {"a": "\0"}, {"\0": 1}, {"a": "\ud800"}, {"\ud800": 1}),
        *({"a": [[{"b": ["\ud800"]}]]}, {"a": 1e31}, {"a": 1e-31}, {"a": 1e300}, {"a": [1e-300]}),
        *({"a": 10**31}, {"a": "x" * 10_000}, {"x" * 10_001: 1}),
    ],
    "email": ["a", "a@b@c", "@b", "a@", "a b@c", "x" * 250 + "@b.org", "a@b\0"],
    "site": [
        *("a", "ftp://a", "http://", "http://a b", "https://u:p@a", "javascript:1"),
        *("https://é.org", "https://a/" + "x" * 1991, "http://a\n"[:-1] + "\u3000b"),
    ],
}


TAKEN_IN_CSV = {"year": {"1.0"}, "live": {"True", "TRUE"}}
"""What pandas and spreadsheets write for these fields."""


@pytest.mark.parametrize("name", REFUSED)
async def test_a_value_that_does_not_fit_is_refused_at_its_field(
    offers: AsyncClient, name: str
) -> None:
    await offer(offers)

    for value in REFUSED[name]:
        is_null = value == "" and name != "name"
        is_taken = isinstance(value, str) and value in TAKEN_IN_CSV.get(name, ())
        answers = await ways(offers, {name: value}, also_csv=not is_null and not is_taken)
        for way, answer in answers.items():
            assert answer.status_code == 422, (way, value, answer.text)
            problem = assert_problem(answer, 422, "validation")
            if way in {"NDJSON", "CSV"}:
                [(line, pointer, _)] = refusals(problem["report"])
                assert line == (1 if way == "NDJSON" else 2)
            else:
                [pointer] = {error["pointer"] for error in problem["errors"]}
            assert pointer.split("/")[1] == name, (way, value, pointer)
    assert len((await offers.get("/offers")).json()) == 1


async def test_a_filter_compares_the_value_as_it_is_sent(offers: AsyncClient) -> None:
    await offer(offers, name="x" * 255, price="10.00", fee="0.000000001", tags=["a", "b"])

    for query, number in (
        ("price=10", 1),
        ("price=9.999", 0),
        ("price=9.999&price=1", 0),
        ("price_gt=9.995", 1),
        ("price_lt=10.001", 1),
        ("price_gte=10.001", 0),
        ("price_lt=123456789.12345", 1),
        (f"price_gt=-{'9' * 1000}", 1),
        ("fee=0.0000000011", 0),
        (f"name={'x' * 255}&name=a", 1),
        (f"name={'x' * 256}&name=a", 0),
        (f"name={'x' * 256}", 0),
        ("tags_has=a", 1),
        ("tags_has=b", 1),
        ("tags_has=a,b", 0),
        ("tags_has=c", 0),
    ):
        assert len(await found(offers, query)) == number, query


def nested(levels: int, *, of_lists: bool = False) -> Any:
    """Return an object, or a list, in which so many are nested."""
    value: Any = [] if of_lists else {}
    for _ in range(levels - 1):
        value = [value] if of_lists else {"a": value}
    return value


HOSTILE: list[Any] = [
    *(10**4000, -(10**4000), "9" * 5000, "0" * 5000, f"0.{'0' * 5000}1", 10**4299),
    *(1e300, -1e300, 1e-300, 5e-324, 1e22, -0.0, 0.1234567890123456, 123456789.12345678, 1e16),
    *("1e5000", "-1e-5000", "NaN", "-Infinity", "٣", "1\n", "\ufeff1", "1\u2009", "--1"),
    *("2026-01-31\n", "-0001-01-01", "0000-12-31T23:59:59Z", "9999-12-31T23:59:59.9999999Z"),
    *("24:00", "12:00:00.", "\0", "a\0b", "\ud800", "\udfff\ud800", "{}", "[]", "null", "\\N"),
    *("{NULL}", "{a,b}", "x" * 50_000, "'; DROP TABLE offer; --", "%s%n", "\x1b[2J", "\u202e"),
    *(nested(33), nested(33, of_lists=True), nested(98), nested(98, of_lists=True)),
    *({"a": nested(31, of_lists=True)}, {"a": nested(32, of_lists=True)}),
    *(
        {"": None},
        {"x" * 10_001: 1},
        {"a": "x" * 10_001},
        {"\ud800": 1},
        {"\0": 1},
        {"a": "\ud800"},
    ),
    *({"a": 10**4000}, {"a": 1e300}, {"a": -1e-300}, {"a": -0.0}, {"a": ["\0"]}, {"__proto__": {}}),
    *({"a": 1e22}, {"a": 0.1234567890123456}, {"a": [1] * 4000}, {str(n): n for n in range(2000)}),
    *(["a"] * 101, [None], [["a"]], [{}], [1], ["\0"], ["\ud800"], ["x" * 256], [""], ["a", None]),
    *([], {}, True, False, 0, ""),
]


@slow
@pytest.mark.parametrize("name", TAKEN)
async def test_whatever_a_field_is_sent_it_is_stored_or_refused_at_the_field(
    offers: AsyncClient, name: str
) -> None:
    await offer(offers)

    for value in HOSTILE:
        shown = repr(value)[:60]
        for way, answer in (await ways(offers, {name: value})).items():
            allowed = {200, 201, 422} | ({409} if name == "maker_id" else set())
            assert answer.status_code in allowed, (way, shown, answer.text)
            if answer.status_code == 422:
                problem = answer.json()
                errors = [
                    *problem.get("errors", []),
                    *problem.get("report", {}).get("refusals", []),
                ]
                assert {error["pointer"].split("/")[1] for error in errors} == {name}, (way, shown)
    assert (await offers.get("/offers?limit=1000")).status_code == 200
    for kind in (NDJSON, CSV):
        content = await exported(offers, kind)
        again = await send_rows(offers, content, "?ignore=id", path="/offers", kind=kind)
        assert counts(report_of(again))[3] == 0


@slow
@pytest.mark.parametrize("name", filters_of(Representation(Offer, OfferPublic)))
async def test_whatever_a_filter_is_sent_it_finds_or_is_refused_by_its_name(
    offers: AsyncClient, name: str
) -> None:
    await offer(offers)

    for value in HOSTILE:
        sent = cell(value).encode(errors="surrogatepass")[:2000]
        for others in ([], [(name, "")]):
            query = urlencode([(name, sent), *others])
            answer = await offers.get(f"/offers?{query}")
            assert answer.status_code in {200, 400, 422}, (query, answer.text)
            if answer.status_code == 422:
                assert "errors" in answer.json(), query
                [error] = answer.json()["errors"]
                assert (error["pointer"], error["location"]) == (f"/{name}", "query")


async def run(offering: FastAPI, *statements: str) -> list[tuple[Any, ...]]:
    """Run statements beside the service; return the rows of the last one."""
    async with offering.state.service.database.engine.begin() as connection:
        for statement in statements:
            answer = await connection.exec_driver_sql(statement)
        return [tuple(row) for row in answer] if answer.returns_rows else []


class Ledger(SQLModel, table=True):
    """A table whose constraints have no names, as those of most SQLModel programs."""

    metadata: ClassVar[MetaData] = MetaData()

    key: int | None = Field(default=None, primary_key=True)


@pytest.fixture
async def stricter(offering: FastAPI) -> AsyncIterator[None]:
    """Make the table stricter than the classes say."""
    await run(
        offering,
        "ALTER TABLE offer DROP CONSTRAINT ck_offer_tempo",
        "ALTER TABLE offer ADD CONSTRAINT ck_offer_tempo CHECK (tempo < 100)",
        "ALTER TABLE offer ALTER note TYPE VARCHAR(10)",
        "ALTER TABLE offer ADD CHECK (gain < 100)",
    )
    yield
    await run(
        offering,
        "ALTER TABLE offer DROP CONSTRAINT ck_offer_tempo",
        "ALTER TABLE offer ADD CONSTRAINT ck_offer_tempo CHECK (tempo >= 20 AND tempo <= 400)",
        "ALTER TABLE offer ALTER note TYPE VARCHAR(5000)",
        "ALTER TABLE offer DROP CONSTRAINT offer_gain_check",
    )


@pytest.mark.usefixtures("stricter")
async def test_what_postgresql_refuses_is_told_of_a_field_that_a_body_has_or_of_none(
    offers: AsyncClient,
) -> None:
    await offer(offers)

    for fields, pointers in (
        ({"tempo": 200}, ["/tempo"]),
        ({"note": "x" * 11}, []),
        ({"gain": 200}, []),
        ({"year": 2, "plays": 1}, []),
    ):
        for answer in (await ways(offers, fields)).values():
            problem = assert_problem(answer, 422, "validation")
            assert [each["pointer"] for each in problem.get("errors", [])] == pointers


async def test_a_duplicate_is_told_of_the_fields_that_a_body_has(offers: AsyncClient) -> None:
    assert (await offers.post("/makers", json={"name": "a"})).status_code == 201

    problem = assert_problem(await offers.post("/makers", json={"name": "a"}), 409, "conflict")

    assert [error["pointer"] for error in problem["errors"]] == ["/name"]


async def test_the_table_has_the_types_and_the_rules_of_the_fields(
    offering: FastAPI, offers: AsyncClient
) -> None:
    del offers  # it makes the table
    columns = await run(
        offering,
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
        " WHERE attrelid = 'offer'::regclass AND attnum > 0",
    )
    checks = await run(
        offering,
        "SELECT conname, pg_get_expr(conbin, conrelid) FROM pg_constraint"
        " WHERE conrelid = 'offer'::regclass AND contype = 'c'",
    )

    types = dict(columns)
    assert {name: types[name] for name in TAKEN} == {
        "name": "character varying(255)",
        "nick": "character varying(20)",
        "note": "character varying(5000)",
        "year": "integer",
        "tempo": "integer",
        "plays": "bigint",
        "maker_id": "bigint",
        "live": "boolean",
        "gain": "double precision",
        "share": "double precision",
        "price": "numeric(8,2)",
        "fee": "numeric(30,9)",
        "day": "date",
        "moment": "timestamp with time zone",
        "starts": "time without time zone",
        "token": "uuid",
        "genre": "character varying(255)",
        "mood": "character varying(255)",
        "tags": "text[]",
        "details": "jsonb",
        "email": "character varying(254)",
        "site": "character varying(2000)",
    }
    assert {name.removeprefix("ck_offer_") for name, _ in checks} == {
        *("order", "name", "nick", "tempo", "plays", "share", "fee", "genre", "mood"),
        *("gain", "price", "day", "moment", "starts", "tags", "details", "email", "site"),
    }


PAST_THE_SERVICE = [
    ("name", "''"),
    ("name", "NULL"),
    ("name", "repeat('x', 256)"),
    ("nick", "'AB'"),
    ("note", "repeat('x', 5001)"),
    ("year", "2147483648"),
    ("tempo", "19"),
    ("tempo", "401"),
    ("plays", "-1"),
    ("plays", "1000000000001"),
    ("maker_id", "77"),
    ("gain", "'NaN'"),
    ("gain", "'Infinity'"),
    ("share", "1"),
    ("share", "'NaN'"),
    ("price", "1000000"),
    ("price", "'NaN'"),
    ("fee", "0"),
    ("fee", "'NaN'"),
    ("day", "'infinity'"),
    ("moment", "'-infinity'"),
    ("day", "'10000-01-01'"),
    ("moment", "'0001-01-01 BC'"),
    ("starts", "'24:00:00'"),
    ("genre", "'pop'"),
    ("mood", "'CALM'"),
    ("tags", "ARRAY['a', NULL]"),
    ("tags", "array_fill('a'::text, ARRAY[101])"),
    ("tags", "ARRAY['']"),
    ("tags", "ARRAY[['a'], ['b']]"),
    ("details", "'[]'"),
    ("details", "'null'"),
    ("email", "'a'"),
    ("site", "'ftp://a'"),
]


@pytest.mark.parametrize(("name", "value"), PAST_THE_SERVICE)
async def test_a_value_that_does_not_fit_cannot_be_stored_past_the_service(
    offering: FastAPI, offers: AsyncClient, name: str, value: str
) -> None:
    await offer(offers)

    with pytest.raises(DBAPIError):
        await run(offering, f"UPDATE offer SET {name} = {value}")


async def test_what_is_no_json_is_refused_as_a_whole(offers: AsyncClient) -> None:
    for number in ("NaN", "Infinity", "-Infinity", "1" * 5000, "01", "1.", ".5", "+1", "0x1"):
        for name in ("gain", "price", "year", "details"):
            value = f'{{"a":{number}}}' if name == "details" else number
            body = f'{{"name":"a","{name}":{value}}}'.encode()
            answer = await offers.post("/offers", content=body, headers=JSON_BODY)
            assert_problem(answer, 400, "malformed")
            sent = await send_rows(offers, body, path="/offers", kind=NDJSON)
            [(line, pointer, _)] = refusals(report_of(sent, 422))
            assert (line, pointer) == (1, "")


async def test_an_object_has_up_to_32_levels(offers: AsyncClient) -> None:
    await offer(offers)

    for of_lists in (False, True):
        inner = nested(31, of_lists=of_lists)
        for answer in (await ways(offers, {"details": {"a": inner}})).values():
            assert answer.status_code in {200, 201}, answer.text
        for levels in (32, 90):
            deeper = {"a": nested(levels, of_lists=of_lists)}
            for way, answer in (await ways(offers, {"details": deeper})).items():
                problem = assert_problem(answer, 422, "validation")
                errors = problem.get("errors") or problem["report"]["refusals"]
                assert [error["pointer"] for error in errors] == ["/details"], way
    body = b'{"name":"a","details":' + b'{"a":' * 100 + b"1" + b"}" * 101
    assert_problem(await offers.post("/offers", content=body, headers=JSON_BODY), 400, "malformed")
    for kind in (NDJSON, CSV):
        cells = b'name,details\na,"' + body[22:-1].replace(b'"', b'""') + b'"\n'
        sent = await send_rows(offers, cells if kind == CSV else body, path="/offers", kind=kind)
        assert len(refusals(report_of(sent, 422))) == 1


@pytest.mark.parametrize(
    "name", sorted({*sortable_fields(Representation(Offer, OfferPublic))} - {"id"})
)
async def test_a_list_is_walked_in_the_order_of_every_field(offers: AsyncClient, name: str) -> None:
    for value in TAKEN.get(name, []):
        await offer(offers, **{name: value[0] if isinstance(value, tuple) else value})
    await offer(offers)

    wanted = await found(offers, f"sort={name}")
    assert await walked(offers, f"/offers?limit=1&sort={name}") == wanted
    assert await walked(offers, f"/offers?limit=2&sort=-{name}") == wanted[::-1]


def test_a_document_says_what_a_field_takes_and_what_it_is_answered(offering: FastAPI) -> None:
    schemas = offering.openapi()["components"]["schemas"]
    shown, sent = (schemas[name]["properties"] for name in ("OfferPublic", "OfferCreate"))

    def kinds(field: dict[str, Any]) -> list[str]:
        return [each["type"] for each in field.get("anyOf", [field])]

    assert kinds(shown["price"]) == kinds(sent["price"]) == ["string", "null"]
    assert kinds(shown["gain"]) == kinds(sent["gain"]) == ["number", "null"]
    assert kinds(shown["year"]) == kinds(shown["maker_id"]) == ["integer", "null"]
    assert shown["mood"]["anyOf"][0] == {"type": "string", "enum": ["calm", "very wild"]}
    assert shown["day"]["anyOf"][0] == {"type": "string", "format": "date", "maxLength": 10}
    assert shown["moment"]["anyOf"][0]["format"] == "date-time"
    assert kinds(shown["tags"]) == ["array", "null"]
    assert kinds(shown["details"]) == ["object", "null"]
    for name, values in TAKEN.items():
        pattern = shown[name].get("anyOf", [shown[name]])[0].get("pattern")
        for value in values if pattern else ():
            answered = value[1] if isinstance(value, tuple) else value
            if isinstance(answered, str) and answered:
                assert re.search(pattern, answered), (name, answered)


async def test_a_parent_that_is_not_there_is_refused_at_the_field(offers: AsyncClient) -> None:
    for value in (0, -1, 2**62, str(2**62)):
        answer = await offers.post("/offers", json={"name": "a", "maker_id": value})
        problem = assert_problem(answer, 409, "conflict")
        assert [error["pointer"] for error in problem["errors"]] == ["/maker_id"]
