"""Cities, as their own rules promise them: a name is taken once, the biggest are at hand."""

import asyncio
import json
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import AsyncClient, Response
from sqlalchemy import insert, text
from sqlalchemy.exc import DBAPIError
from sqlmodel.ext.asyncio.session import AsyncSession

from songbook.db.database import Database
from songbook.models.tables import table_of
from tests.support.asserts import assert_headers, assert_problem
from tests.support.databases import nodes_of

module = pytest.importorskip("app.resources.cities", reason="there are no cities in this service")

BRATISLAVA = {"name": "Bratislava", "population": 432_000}
INT4_MAX = 2**31 - 1


async def add_city(client: AsyncClient, name: str, population: int = 1) -> str:
    """Store a city; return its address."""
    answer = await client.post("/cities", json={"name": name, "population": population})
    assert answer.status_code == 201, answer.text
    address: str = answer.headers["location"]
    return address


async def store(session: AsyncSession, cities: list[tuple[str, int]]) -> None:
    """Store many cities."""
    rows = [{"name": name, "population": population} for name, population in cities]
    await (await session.connection()).execute(insert(table_of(module.City)), rows)
    await session.commit()


def assert_taken(answer: Response) -> None:
    """Assert that a name is refused because another city has it."""
    problem = assert_problem(answer, 409, "conflict")
    assert problem["detail"] == "The city is already stored"
    [error] = problem["errors"]
    assert (error["pointer"], error["location"]) == ("/name", "body")
    assert "Bratislava" not in answer.text


async def test_a_name_is_taken_once_and_the_next_request_works(client: AsyncClient) -> None:
    await client.post("/cities", json=BRATISLAVA)

    assert_taken(await client.post("/cities", json=BRATISLAVA))
    assert_taken(await client.post("/cities", json={"name": " Bratislava ", "population": 0}))

    assert (await client.get("/cities")).json() == [{"id": 1, **BRATISLAVA}]
    assert (await client.post("/cities", json=BRATISLAVA | {"name": "Brno"})).status_code == 201


async def test_a_name_in_another_case_or_of_other_letters_is_another_name(
    client: AsyncClient,
) -> None:
    names = ["Bratislava", "BRATISLAVA", "bratislava", "Bratislavá", "Bratislava\u0301"]

    for name in names:
        await add_city(client, name)

    assert [city["name"] for city in (await client.get("/cities")).json()] == names


async def test_no_change_makes_two_cities_of_one_name(client: AsyncClient) -> None:
    first = await add_city(client, "Bratislava", 432_000)
    second = await add_city(client, "Brno", 400_000)
    before = await client.get(second)

    assert_taken(await client.put(second, json=BRATISLAVA))
    assert_taken(await client.patch(second, json={"name": "Bratislava"}))

    after = await client.get(second)
    assert (after.json(), after.headers["etag"]) == (before.json(), before.headers["etag"])
    assert (await client.put(first, json=BRATISLAVA)).status_code == 200  # its own name is free
    assert (await client.patch(second, json={"name": "Košice"})).status_code == 200


async def test_a_name_is_free_again_when_its_city_is_gone(client: AsyncClient) -> None:
    address = await add_city(client, "Bratislava")
    await client.delete(address)

    assert await add_city(client, "Bratislava") != address


async def test_of_sixty_four_who_create_a_city_at_once_one_succeeds(client: AsyncClient) -> None:
    answers = await asyncio.gather(*(client.post("/cities", json=BRATISLAVA) for _ in range(64)))

    created = [answer for answer in answers if answer.status_code == 201]
    refused = [answer for answer in answers if answer.status_code != 201]
    assert (len(created), len(refused)) == (1, 63)
    for answer in refused:
        assert_taken(answer)
    assert (await client.get("/cities")).json() == [created[0].json()]


async def test_of_two_who_take_a_name_for_their_cities_at_once_one_succeeds(
    client: AsyncClient,
) -> None:
    addresses = [await add_city(client, f"No {number}") for number in range(16)]

    answers = await asyncio.gather(
        *(client.patch(address, json={"name": "Bratislava"}) for address in addresses)
    )

    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 15


@pytest.mark.parametrize("population", [0, 1, INT4_MAX])
async def test_a_population_is_zero_or_any_number_that_the_column_holds(
    client: AsyncClient, population: int
) -> None:
    address = await add_city(client, "Bratislava", population)

    assert (await client.get(address)).json()["population"] == population


@pytest.mark.parametrize("population", [-1, INT4_MAX + 1, None, 1.5, "many", True])
async def test_what_is_no_population_is_refused(client: AsyncClient, population: Any) -> None:
    address = await add_city(client, "Brno")
    city = BRATISLAVA | {"population": population}

    for refused in (
        await client.post("/cities", json=city),
        await client.put(address, json=city),
        await client.patch(address, json={"population": population}),
    ):
        [error] = assert_problem(refused, 422, "validation")["errors"]
        assert error["pointer"] == "/population"


@pytest.mark.parametrize(
    "values",
    ["('a', -1)", "('a', NULL)", "(NULL, 1)", "('', 1)", "(repeat('x', 256), 1)", "('Brno', 1)"],
)
async def test_what_is_no_city_is_none_to_postgresql_either(
    client: AsyncClient, session: AsyncSession, values: str
) -> None:
    await add_city(client, "Brno")
    connection = await session.connection()

    with pytest.raises(DBAPIError):
        await connection.execute(text(f"INSERT INTO cities (name, population) VALUES {values}"))


async def test_the_biggest_cities_are_shown_by_name_and_population_alone(
    client: AsyncClient,
) -> None:
    assert (await client.get("/cities/biggest")).text == "[]"
    for name, population in [("Nitra", 77_000), ("Bratislava", 432_000), ("Košice", 229_000)]:
        await add_city(client, name, population)

    answer = await client.get("/cities/biggest")

    assert answer.status_code == 200
    assert [list(city.items()) for city in answer.json()] == [
        [("name", "Bratislava"), ("population", 432_000)],
        [("name", "Košice"), ("population", 229_000)],
        [("name", "Nitra"), ("population", 77_000)],
    ]
    assert "link" not in answer.headers


async def test_the_biggest_cities_are_twenty_at_most_and_of_a_size_the_newest_come_first(
    client: AsyncClient, session: AsyncSession
) -> None:
    sizes = [7, 9, 8]
    await store(session, [(f"No {number}", sizes[number % 3]) for number in range(30)])

    named = [city["name"] for city in (await client.get("/cities/biggest")).json()]

    largest = [number for number in range(30) if number % 3 == 1]
    middle = [number for number in range(30) if number % 3 == 2]
    assert named == [f"No {number}" for number in largest[::-1] + middle[::-1]]
    assert (await client.get("/cities/biggest/")).json()[0]["name"] == named[0]


async def test_the_biggest_cities_are_not_sent_again_until_they_change(
    client: AsyncClient,
) -> None:
    address = await add_city(client, "Bratislava", 432_000)
    first = await client.get("/cities/biggest")
    seen = {"If-None-Match": first.headers["etag"]}

    again = await client.get("/cities/biggest", headers=seen)
    await client.patch(address, json={"population": 433_000})
    changed = await client.get("/cities/biggest", headers=seen)
    head = await client.head("/cities/biggest")

    assert (again.status_code, again.content, again.headers["etag"]) == (
        304,
        b"",
        first.headers["etag"],
    )
    assert (changed.status_code, changed.json()[0]["population"]) == (200, 433_000)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["etag"] == changed.headers["etag"]
    for answer in (first, again, changed, head):
        assert_headers(answer)
    bad = await client.get("/cities/biggest", headers={"If-None-Match": "x"})
    assert_problem(bad, 400, "malformed")


@pytest.mark.parametrize("query", ["limit=5", "sort=name", "q=", "a", "name=Brno", "after=x"])
async def test_the_biggest_cities_take_no_parameter(client: AsyncClient, query: str) -> None:
    answer = await client.get(f"/cities/biggest?{query}")

    [error] = assert_problem(answer, 422, "validation")["errors"]
    assert (error["pointer"], error["location"]) == (f"/{query.partition('=')[0]}", "query")


async def test_the_biggest_cities_have_the_methods_of_their_own_address_only(
    client: AsyncClient,
) -> None:
    for method in ("PUT", "PATCH", "DELETE", "POST", "TRACE"):
        answer = await client.request(method, "/cities/biggest", json=BRATISLAVA)
        assert_problem(answer, 405, "method-not-allowed")
        assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
    options = await client.options("/cities/biggest")
    assert (options.status_code, options.headers["allow"]) == (204, "GET, HEAD, OPTIONS")


async def test_the_biggest_of_many_cities_are_read_from_the_end_of_an_index(
    app: FastAPI, session: AsyncSession
) -> None:
    database: Database = app.state.service.database
    query = module.BIGGEST.bind({})
    connection = await session.connection()
    await connection.execute(
        text(
            "INSERT INTO cities (name, population)"
            " SELECT 'n' || i, i * 7919 % 10000 FROM generate_series(1, 20000) AS i"
        )
    )
    await session.commit()
    async with database.engine.connect() as reader:
        driver: Any = (await reader.get_raw_connection()).driver_connection
        await driver.execute("ANALYZE cities")
        [plan] = await driver.fetchval(
            f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query.sql}", *query.arguments
        )
        row = await driver.fetchrow(query.sql, *query.arguments)

    nodes = {node["Node Type"]: node for node in nodes_of(plan["Plan"])}
    assert nodes["Index Scan"]["Index Name"] == "ix_cities_population"
    assert nodes["Index Scan"]["Actual Rows"] < 100
    assert not {"Sort", "Seq Scan", "Bitmap Heap Scan"} & nodes.keys()  # ties alone are sorted
    assert plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"] < 100
    sizes = [city["population"] for city in json.loads(f"[{row[0]}]")]
    assert sizes == sorted(sizes, reverse=True)
    assert len(sizes) == 20
