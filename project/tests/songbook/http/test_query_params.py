"""Query parameters of a handler are parsed strictly, whether FastAPI or the route calls it."""

import json
from collections import deque
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from urllib.parse import quote
from uuid import UUID

import pytest
from fastapi import FastAPI, Header, Query, Response
from httpx import ASGITransport, AsyncClient
from pydantic import BaseModel, Field

from songbook.application import create_app
from songbook.http import Router
from songbook.openapi import describe
from songbook.openapi.schemas import completed, sentence
from tests.samples.settings import Settings
from tests.support.asserts import assert_headers, assert_problem
from tests.support.openapi import parameters_of
from tests.support.routes import add_both_ways, asking, each_way, open_router

TOKEN = "0190163d-8694-739b-aea5-966c26f8ad91"
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)

Year = Annotated[int, Query(ge=1, le=9999)]


async def read_since(since: Year = 1900) -> Response:
    """Answer with one number."""
    return Response(json.dumps(since))


async def read_from(since: Annotated[Year, Query(alias="from", description="A year.")]) -> Response:
    """Answer with one number that has to be sent."""
    return Response(json.dumps(since))


async def read_all(  # noqa: PLR0913 - one of every kind
    *,
    since: int | None = None,
    years: Annotated[list[Year], Query(max_length=3)] = [1900],  # noqa: B006 - as FastAPI has it
    flag: bool = False,
    ratio: Annotated[float, Query(le=1e9)] = 1.5,
    amount: Annotated[Decimal, Query(max_digits=6, decimal_places=2)] = Decimal("1.50"),
    day: date | None = None,
    at: datetime | None = None,
    token: UUID | None = None,
    kind: Literal["rock", "jazz"] = "rock",
    name: Annotated[str, Query(min_length=2, max_length=4)] = "none",
) -> Response:
    """Answer with a value of every kind."""
    found = {
        "since": since,
        "years": years,
        "flag": flag,
        "ratio": ratio,
        "amount": amount,
        "day": day,
        "at": at,
        "token": token,
        "kind": kind,
        "name": name,
    }
    return Response(json.dumps(found, default=str))


DEFAULTS = {
    "since": None,
    "years": [1900],
    "flag": False,
    "ratio": 1.5,
    "amount": "1.50",
    "day": None,
    "at": None,
    "token": None,
    "kind": "rock",
    "name": "none",
}


@pytest.fixture
def router() -> Router:
    """Give the routes of the handlers."""
    router = open_router()
    add_both_ways(router, "/since", read_since, "GET")
    add_both_ways(router, "/from", read_from, "GET")
    add_both_ways(router, "/all", read_all, "GET")
    return router


@pytest.fixture
async def other(router: Router) -> AsyncIterator[AsyncClient]:
    """Give a client of the routes."""
    async with asking(router) as other:
        yield other


@each_way
@pytest.mark.parametrize(
    ("query", "value"), [("", 1900), ("since=5", 5), ("since=1", 1), ("since=9999", 9999)]
)
async def test_a_number_is_read(other: AsyncClient, way: str, query: str, value: int) -> None:
    answer = await other.get(f"{way}/since?{query}")

    assert (answer.status_code, answer.json()) == (200, value)
    assert_headers(answer)


NO_NUMBERS = [
    "1_000",
    " 5",
    "5 ",
    "+5",
    "\u0665",
    "",
    "true",
    "5.0",
    "5e0",
    "0x5",
    "5\0",
    "--5",
    "\uff15",
]
OUT_OF_BOUNDS = ["0", "10000", "-1", str(2**63), str(-(2**63)), "9" * 5000]


@each_way
@pytest.mark.parametrize("value", NO_NUMBERS + OUT_OF_BOUNDS, ids=lambda value: repr(value)[:9])
async def test_what_is_no_number_within_its_bounds_is_refused(
    other: AsyncClient, way: str, value: str
) -> None:
    for path, name in (("/since", "since"), ("/from", "from"), ("/all", "years")):
        answer = await other.get(f"{way}{path}?{name}={quote(value)}")

        [error] = assert_problem(answer, 422, "validation")["errors"]
        assert (error["location"], error["pointer"]) == ("query", f"/{name}")
        assert_headers(answer)


@each_way
@pytest.mark.parametrize("query", ["since=5&since=6", "since=5&since=5", "since=&since=5"])
async def test_a_parameter_that_is_repeated_is_refused(
    other: AsyncClient, way: str, query: str
) -> None:
    for path in ("/since", "/all"):
        [error] = assert_problem(await other.get(f"{way}{path}?{query}"), 422)["errors"]
        assert (error["pointer"], error["type"]) == ("/since", "repeated_parameter")


@each_way
async def test_a_parameter_that_is_missing_is_named_as_the_client_knows_it(
    other: AsyncClient, way: str
) -> None:
    for query in ("", "?"):
        [error] = assert_problem(await other.get(f"{way}/from{query}"), 422)["errors"]
        assert error == {
            "pointer": "/from",
            "location": "query",
            "detail": "Field required",
            "type": "missing",
        }
    assert (await other.get(f"{way}/from?from=5")).json() == 5


@each_way
@pytest.mark.parametrize(
    ("query", "pointer", "detail"),
    [
        ("sinse=5", "/sinse", "Unknown parameter, did you mean `since`?"),
        ("since=5&Since=5", "/Since", "Unknown parameter, did you mean `since`?"),
        ("limit=5", "/limit", "Unknown parameter"),
        ("since[]=5", "/since[]", "Unknown parameter, did you mean `since`?"),
        ("=5", "/", "Unknown parameter"),
    ],
)
async def test_a_parameter_that_is_unknown_is_refused(
    other: AsyncClient, way: str, query: str, pointer: str, detail: str
) -> None:
    [error] = assert_problem(await other.get(f"{way}/since?{query}"), 422)["errors"]

    assert (error["pointer"], error["detail"]) == (pointer, detail)


@each_way
async def test_a_parameter_is_not_known_by_the_name_of_the_argument(
    other: AsyncClient, way: str
) -> None:
    errors = assert_problem(await other.get(f"{way}/from?since=5"), 422)["errors"]

    assert [error["pointer"] for error in errors] == ["/since"]


@each_way
async def test_parameters_that_are_left_out_have_their_defaults(
    other: AsyncClient, way: str
) -> None:
    for _ in range(2):
        assert (await other.get(f"{way}/all")).json() == DEFAULTS


@each_way
async def test_a_handler_may_change_a_default_that_it_was_given(way: str) -> None:
    async def count_years(years: Annotated[list[int], Query()] = [1900]) -> Response:  # noqa: B006
        """Answer with a number that grows if the default is shared."""
        years.append(0)
        return Response(json.dumps(len(years)))

    router = open_router()
    add_both_ways(router, "/years", count_years, "GET")
    async with asking(router) as other:
        for _ in range(2):
            assert (await other.get(f"{way}/years")).json() == 2


@each_way
@pytest.mark.parametrize(
    ("name", "values", "value"),
    [
        ("since", ["-5"], -5),
        ("years", ["1"], [1]),
        ("years", ["3", "1", "3"], [3, 1, 3]),
        ("flag", ["true"], True),
        ("flag", ["false"], False),
        ("ratio", ["2"], 2.0),
        ("ratio", ["-2.5e-3"], -0.0025),
        ("amount", ["1234.5"], "1234.5"),
        ("amount", ["-0.01"], "-0.01"),
        ("day", ["0001-01-01"], "0001-01-01"),
        ("at", ["2026-01-31T12:00:00Z"], str(NOON)),
        ("at", ["2026-01-31T12:00:00.000+00:00"], str(NOON)),
        ("token", [TOKEN], TOKEN),
        ("token", [TOKEN.upper()], TOKEN),
        ("kind", ["jazz"], "jazz"),
        ("name", ["true"], "true"),
        ("name", [" é+"], " é+"),
    ],
)
async def test_a_value_of_every_kind_is_read_as_json_spells_it(
    other: AsyncClient, way: str, name: str, values: list[str], value: Any
) -> None:
    answer = await other.get(f"{way}/all", params={name: values})

    assert (answer.status_code, answer.json()) == (200, DEFAULTS | {name: value})


REFUSED: dict[str, list[list[str]]] = {
    "since": [[""], ["null"], ["1_0"], ["true"], [str(2**63)]],
    "years": [["1,2"], ["1", "x"], ["1", "0"], ["1"] * 4, ["[1]"]],
    "flag": [["yes"], ["1"], ["True"], ["TRUE"], ["on"], [""], [" true"], ["true", "true"]],
    "ratio": [
        ["nan"],
        ["NaN"],
        ["inf"],
        ["-Infinity"],
        [".5"],
        ["1_0"],
        ["+1"],
        ["1e10"],
        ["1e999"],
    ],
    "amount": [["nan"], ["1e5000"], ["1.234"], ["12345.67"], ["1_0"], [" 1"], ["\u0661"], [""]],
    "day": [
        ["0"],
        ["2026-1-31"],
        ["2026-02-30"],
        ["20260131"],
        ["2026-01-31T00:00:00"],
        ["10000-01-01"],
    ],
    "at": [
        ["0"],
        ["2026-01-31"],
        ["2026-01-31T12:00:00"],
        ["2026-01-31T25:00:00Z"],
        ["9999-12-31T23:59:59-12:00"],
        ["0001-01-01T00:00:00+12:00"],
    ],
    "token": [[f"{{{TOKEN}}}"], [f"urn:uuid:{TOKEN}"], [TOKEN.replace("-", "")], ["0"]],
    "kind": [["pop"], ["Rock"], [""], [" rock"], ["rock", "jazz"]],
    "name": [["x"], ["12345"], ["a\0b"], [""]],
}


@each_way
@pytest.mark.parametrize("name", REFUSED)
async def test_a_value_that_json_would_spell_otherwise_is_refused(
    other: AsyncClient, way: str, name: str
) -> None:
    for values in REFUSED[name]:
        answer = await other.get(f"{way}/all", params={name: values})

        errors = assert_problem(answer, 422, "validation")["errors"]
        assert [(error["location"], error["pointer"]) for error in errors] == [
            ("query", f"/{name}")
        ], values


@pytest.mark.parametrize("way", ["/direct"])
async def test_the_plus_of_an_offset_may_have_become_a_space(other: AsyncClient, way: str) -> None:
    for value in ("2026-01-31T13:30:00+01:30", "2026-01-31T13:30:00%2B01:30"):
        answer = await other.get(f"{way}/all?at={value}")

        assert answer.status_code == 200, answer.text
        assert datetime.fromisoformat(answer.json()["at"]) == NOON


@each_way
async def test_all_that_is_wrong_is_told_at_once(other: AsyncClient, way: str) -> None:
    answer = await other.get(f"{way}/all?flag=yes&day=0&years=1&years=x")

    errors = assert_problem(answer, 422)["errors"]
    assert [error["pointer"] for error in errors] == ["/years", "/flag", "/day"]


@each_way
@pytest.mark.parametrize(
    "kind", [list[Year], set[Year], Sequence[Year], deque[Year], tuple[Year, ...]]
)
async def test_a_parameter_of_many_values_may_be_declared_as_any_sequence(
    way: str, kind: Any
) -> None:
    async def read_years(years: Annotated[kind | None, Query(max_length=2)] = None) -> Response:
        """Answer with numbers."""
        return Response(json.dumps(years and sorted(years)))

    router = open_router()
    add_both_ways(router, "/years", read_years, "GET")
    async with asking(router) as other:
        assert (await other.get(f"{way}/years")).json() is None
        assert (await other.get(f"{way}/years?years=3")).json() == [3]
        assert (await other.get(f"{way}/years?years=3&years=1")).json() == [1, 3]
        for query in ("years=1_000", "years=1&years=0", "years=1&years=2&years=3", "years="):
            [error] = assert_problem(await other.get(f"{way}/years?{query}"), 422)["errors"]
            assert error["pointer"] == "/years"


@each_way
async def test_a_parameter_may_have_one_name_to_clients_and_another_in_the_document(
    way: str,
) -> None:
    async def read_year(
        since: Annotated[int, Query(validation_alias="year", alias="from")] = 1900,
    ) -> Response:
        """Answer with a number."""
        return Response(json.dumps(since))

    router = open_router()
    add_both_ways(router, "/year", read_year, "GET")
    async with asking(router) as other:
        assert (await other.get(f"{way}/year?year=5")).json() == 5
        assert_problem(await other.get(f"{way}/year?from=5"), 422)


class Filters(BaseModel):
    """Parameters that belong together."""

    since: Annotated[int, Field(ge=1, le=9999)] = 1900
    names: list[str] = []
    kind: Literal["rock", "jazz"] | None = Field(None, alias="genre")


async def test_parameters_may_be_the_fields_of_a_model(router: Router) -> None:
    @router.get("/filtered")
    async def read_filtered(filters: Annotated[Filters, Query()]) -> list[Any]:
        """Answer with the fields."""
        return [filters.since, filters.names, filters.kind]

    async with asking(router) as other:
        assert (await other.get("/filtered")).json() == [1900, [], None]
        answer = await other.get("/filtered?since=5&names=a&names=b&genre=jazz")
        assert answer.json() == [5, ["a", "b"], "jazz"]
        for query, pointer in (
            ("since=1_000", "/since"),
            ("since=0", "/since"),
            ("since=5&since=6", "/since"),
            ("genre=pop", "/genre"),
            ("kind=jazz", "/kind"),
            ("sinse=5", "/sinse"),
            ("filters=5", "/filters"),
        ):
            refused = assert_problem(await other.get(f"/filtered?{query}"), 422)
            assert [error["pointer"] for error in refused["errors"]] == [pointer]


async def test_a_handler_that_asks_for_a_header_as_well_reads_the_same(router: Router) -> None:
    @router.get("/with-a-header")
    async def read_both(since: Year = 1900, x_flag: Annotated[str, Header()] = "no") -> list[Any]:
        """Answer with a parameter and a header."""
        return [since, x_flag]

    async with asking(router) as other:
        answer = await other.get("/with-a-header?since=5", headers={"X-Flag": "yes"})
        assert answer.json() == [5, "yes"]
        for query, pointer in (
            ("since=1_000", "/since"),
            ("since=5&since=6", "/since"),
            ("since=0", "/since"),
            ("sinse=5", "/sinse"),
            ("x_flag=no", "/x_flag"),
        ):
            refused = assert_problem(await other.get(f"/with-a-header?{query}"), 422)
            assert [error["pointer"] for error in refused["errors"]] == [pointer]


def test_the_document_describes_a_parameter_as_fastapi_does(router: Router) -> None:
    plain = FastAPI()
    for path, handler in (("/since", read_since), ("/from", read_from), ("/all", read_all)):
        plain.get(f"/direct{path}")(handler)

    document = describe(create_app(Settings(), [router]))

    for path, operations in plain.openapi()["paths"].items():
        responses = document["paths"][path]["get"]["responses"]
        assert responses.keys() >= {"200", "422"}
        for each in (path, path.replace("direct", "solved")):
            assert parameters_of(document, each) == [
                completed({"description": f"{sentence(own['name'])}.", **own})
                | ({"example": 2000} if own["required"] else {})  # which can be tried as it is
                for own in operations["get"]["parameters"]
            ]


@each_way
async def test_a_parameter_is_read_as_strictly_where_a_dependency_is_overridden(way: str) -> None:
    async def read_since_only(since: int = 0) -> Response:
        return Response(str(since))

    router = open_router()
    add_both_ways(router, "/since", read_since_only, "GET")
    app = create_app(Settings(), [router])
    app.dependency_overrides = {open_router: open_router}
    async with AsyncClient(transport=ASGITransport(app), base_url="http://songbook") as client:
        answers = [await client.get(f"{way}/since?{query}") for query in ("since=5", "since=1_0")]
        unknown = await client.get(f"{way}/since?before=5")
    assert [answer.status_code for answer in (*answers, unknown)] == [200, 422, 422]
