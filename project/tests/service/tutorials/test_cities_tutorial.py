"""The cities tutorial: tables made by a command, cities of unique names, the biggest of them."""

import re
from collections.abc import Callable

import pytest
import typer
from httpx import AsyncClient
from sqlalchemy.engine import URL

from app import __main__
from tests.support.asserts import assert_problem
from tests.support.databases import execute, spelled
from tests.support.processes import Outcome

pytest.importorskip("app.resources.cities", reason="there are no cities in this service")

BRATISLAVA = {"name": "Bratislava", "population": 432_000}
TABLES = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'"


def test_a_command_line_made_with_typer_prepares_the_tables(
    command: Callable[..., Outcome], scratch_url: URL
) -> None:
    assert isinstance(__main__.cli, typer.Typer)

    assert command("migrate", DATABASE_URL=spelled(scratch_url)).code == 0

    assert ("cities",) in execute(scratch_url, TABLES)


def test_preparing_the_tables_again_drops_nothing(
    command: Callable[..., Outcome], migrated_url: URL
) -> None:
    execute(
        migrated_url,
        "CREATE TABLE somebody_s_own (note text)",
        "INSERT INTO cities (name, population) VALUES ('Bratislava', 432000)",
    )

    for _ in range(2):
        assert command("migrate", DATABASE_URL=spelled(migrated_url)).code == 0

    cities = execute(migrated_url, "SELECT id, name, population FROM cities")
    assert cities == [(1, "Bratislava", 432_000)]
    assert ("somebody_s_own",) in execute(migrated_url, TABLES)


def test_no_command_and_no_option_offers_to_drop_anything(
    command: Callable[..., Outcome],
) -> None:
    names = list(typer.main.get_group(__main__.cli).commands)
    assert {"serve", "migrate", "import"} <= {*names}

    for arguments in ([], *([name] for name in names)):
        told = re.sub("[^a-z-]+", " ", command(*arguments, "--help").printed.lower())
        for word in ("drop", "reset", "recreate", "truncate"):
            assert word not in told, arguments


def test_the_table_is_the_tutorial_s(migrated_url: URL) -> None:
    columns = execute(
        migrated_url,
        "SELECT column_name::text, data_type::text, is_nullable::text"
        " FROM information_schema.columns WHERE table_name = 'cities' AND column_name <> 'version'",
    )
    constraints = execute(
        migrated_url,
        "SELECT conname::text, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE conrelid = 'cities'::regclass AND contype <> 'n'",
    )

    assert set(columns) == {
        ("id", "bigint", "NO"),
        ("name", "character varying", "NO"),
        ("population", "integer", "NO"),
    }
    assert {
        ("pk_cities", "PRIMARY KEY (id)"),
        ("uq_cities_name", "UNIQUE (name)"),
        ("ck_cities_population", "CHECK ((population >= 0))"),
    } < set(constraints)


async def test_cities_are_added_and_the_biggest_of_them_listed(client: AsyncClient) -> None:
    for name, population in [
        ("Bratislava", 432_000),
        ("Prague", 1_309_000),
        ("Vienna", 1_897_000),
        ("Budapest", 1_752_000),
    ]:
        added = await client.post("/cities/", json={"name": name, "population": population})
        assert {"name": name, "population": population}.items() <= added.json().items()

    biggest = await client.get("/cities/biggest")

    assert biggest.json() == [
        {"name": "Vienna", "population": 1_897_000},
        {"name": "Budapest", "population": 1_752_000},
        {"name": "Prague", "population": 1_309_000},
        {"name": "Bratislava", "population": 432_000},
    ]


async def test_a_city_that_is_there_is_refused_and_the_next_request_works(
    client: AsyncClient,
) -> None:
    await client.post("/cities/", json=BRATISLAVA)

    refused = await client.post("/cities/", json=BRATISLAVA | {"population": 1})

    assert assert_problem(refused, 409)["detail"] == "The city is already stored"
    assert (await client.get("/cities/biggest")).json() == [BRATISLAVA]
    brno = {"name": "Brno", "population": 400_000}
    assert (await client.post("/cities/", json=brno)).json().items() >= brno.items()


async def test_the_biggest_are_twenty_at_most_and_ties_stay_in_one_order(
    client: AsyncClient,
) -> None:
    for number in range(22):
        await client.post("/cities/", json={"name": f"No {number}", "population": number // 11})

    lists = [(await client.get("/cities/biggest")).json() for _ in range(3)]

    assert lists[0] == lists[1] == lists[2]
    assert [city["population"] for city in lists[0]] == [1] * 11 + [0] * 9


@pytest.mark.parametrize("population", [-1, 2**31, "many", None])
async def test_a_population_is_a_whole_number_from_zero_on(
    client: AsyncClient, population: object
) -> None:
    refused = await client.post("/cities/", json=BRATISLAVA | {"population": population})

    assert_problem(refused, 422, "validation")
    assert (await client.get("/cities/biggest")).json() == []
