"""Relations: what lists and records are expanded with, and filters by the fields of parents."""

import asyncio
import json
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import AsyncClient, Response
from sqlalchemy import text
from sqlalchemy.engine import URL

from tests.support.asserts import assert_problem
from tests.support.clients import sign_in
from tests.support.databases import execute
from tests.support.openapi import parameters_of

CSV, NDJSON = "text/csv", "application/x-ndjson"

PUBLISHERS = [("Faber", "GB"), ("Cappelen", "NO"), ("Nowhere", None)]
TOWNS = [("Bath", 90_000), ("Oslo", 700_000)]
NOVELS = [
    ("Emma", "9.90", 1, 1),
    ("Hunger", "12.00", 2, 2),
    ("Pan", None, 2, None),
    ("Persuasion", "8.50", 1, 1),
    ("Lost", None, 3, None),
]


def novel(number: int) -> dict[str, Any]:
    """Return a novel as it is shown."""
    title, price, publisher, town = NOVELS[number - 1]
    ids = {"publisher_id": publisher, "town_id": town}
    return {"id": number, "title": title, "price": price, **ids}


def publisher(number: int) -> dict[str, Any]:
    """Return a publisher as its own address shows it."""
    name, country = PUBLISHERS[number - 1]
    count = len([1 for each in NOVELS if each[2] == number])
    return {"id": number, "name": name, "country": country, "novel_count": count}


def town(number: int | None) -> dict[str, Any] | None:
    """Return a town as its own address shows it."""
    if number is None:
        return None
    name, population = TOWNS[number - 1]
    return {"id": number, "name": name, "population": population}


@pytest.fixture
async def shelf(client: AsyncClient) -> AsyncClient:
    """Give a client of a service with publishers, towns and novels."""
    for name, country in PUBLISHERS:
        await client.post("/publishers", json={"name": name, "country": country})
    for name, population in TOWNS:
        await client.post("/towns", json={"name": name, "population": population})
    for number in range(1, len(NOVELS) + 1):
        fields = {key: value for key, value in novel(number).items() if key != "id"}
        answer = await client.post("/novels", json=fields)
        assert answer.json() == novel(number)
    return client


async def rows(client: AsyncClient, url: str, kind: str = "application/json") -> list[Any]:
    """Return the rows of a list."""
    answer = await client.get(url, headers={"Accept": kind})
    assert answer.status_code == 200, answer.text
    lines = answer.text.splitlines()
    found: list[Any] = [json.loads(line) for line in lines] if kind == NDJSON else answer.json()
    return found


async def ids(client: AsyncClient, query: str) -> list[int]:
    """Return the ids of the novels that a query finds."""
    return [each["id"] for each in await rows(client, f"/novels?{query}")]


@pytest.mark.parametrize("kind", ["application/json", NDJSON])
async def test_a_list_shows_the_parents_as_their_own_addresses_do(
    shelf: AsyncClient, kind: str
) -> None:
    for number in range(1, len(PUBLISHERS) + 1):
        assert (await shelf.get(f"/publishers/{number}")).json() == publisher(number)

    found = await rows(shelf, "/novels?expand=publisher,town", kind)

    assert found == [
        {**novel(nth), "publisher": publisher(row[2]), "town": town(row[3])}
        for nth, row in enumerate(NOVELS, 1)
    ]
    assert list(found[0]) == [*novel(1), "publisher", "town"]
    other = await rows(shelf, "/novels?expand=town,publisher", kind)
    assert list(other[0]) == [*novel(1), "town", "publisher"]
    assert other == found
    assert await rows(shelf, "/novels", kind) == [novel(nth) for nth in range(1, 6)]


@pytest.mark.parametrize("kind", ["application/json", NDJSON])
async def test_a_list_shows_the_children_with_decimals_as_texts(
    shelf: AsyncClient, kind: str
) -> None:
    found = await rows(shelf, "/publishers?expand=novels&limit=100", kind)

    assert found == [
        {**publisher(1), "novels": [novel(1), novel(4)]},
        {**publisher(2), "novels": [novel(2), novel(3)]},
        {**publisher(3), "novels": [novel(5)]},
    ]
    assert [each["novels"] for each in await rows(shelf, "/towns?expand=novels")] == [
        [novel(1), novel(4)],
        [novel(2)],
    ]


async def test_a_record_shows_its_parents_and_its_children(shelf: AsyncClient) -> None:
    child = await shelf.get("/novels/3?expand=town,publisher")
    parent = await shelf.get("/publishers/2?expand=novels")

    assert child.json() == {**novel(3), "town": None, "publisher": publisher(2)}
    assert list(child.json())[-2:] == ["town", "publisher"]
    assert parent.json() == {**publisher(2), "novels": [novel(2), novel(3)]}
    assert_problem(await shelf.get("/novels/99?expand=town"), 404, "not-found")


async def test_twenty_children_are_shown_in_the_order_of_their_ids(client: AsyncClient) -> None:
    await client.post("/publishers", json={"name": "a"})
    lines = [json.dumps({"title": f"{nth}", "publisher_id": 1}) for nth in range(25)]
    await client.post("/novels", content="\n".join(lines), headers={"Content-Type": NDJSON})
    await client.patch("/novels/1", json={"price": "1"})  # moves its row in the table
    await client.delete("/novels/2")

    [listed] = await rows(client, "/publishers?expand=novels")
    read = (await client.get("/publishers/1?expand=novels")).json()

    assert [each["id"] for each in listed["novels"]] == [1, *range(3, 22)]
    assert read == listed
    assert listed["novel_count"] == 24


async def test_a_parent_that_is_deleted_is_null_and_matches_no_filter(
    shelf: AsyncClient, app: FastAPI
) -> None:
    """As with rows of a time before the triggers."""
    async with app.state.service.database.engine.begin() as connection:
        await connection.execute(text("SET LOCAL session_replication_role = replica"))
        await connection.execute(text("UPDATE publisher SET deleted_at = now() WHERE id = 1"))

    [row] = await rows(shelf, "/novels?expand=publisher&id=1")

    assert row == {**novel(1), "publisher": None}
    assert (await shelf.get("/novels/1?expand=publisher")).json() == row
    assert await ids(shelf, "publisher.country=GB") == []
    assert await ids(shelf, "publisher.id=1") == []


FILTERS = {
    "publisher.country=NO": [2, 3],
    "publisher.country=NO&publisher.country=GB": [1, 2, 3, 4],
    "publisher.country=": [5],
    "publisher.country=&publisher.country=NO": [2, 3, 5],
    "publisher.name_contains=ABE": [1, 4],
    "publisher.name_contains=%25": [],
    "publisher.name=Faber&title=Emma": [1],
    "publisher.id_gte=2&publisher.id_lt=3": [2, 3],
    "town.population_gt=90000": [2],
    "town.population_gte=90000": [1, 2, 4],
    "town.population_lte=90000&publisher.country=GB&price_gt=9": [1],
    "town.id=1": [1, 4],
    "town_id=": [3, 5],
    "publisher.id=99": [],
    "q=hunger&publisher.country=NO": [2],
}


@pytest.mark.parametrize("query", FILTERS)
async def test_a_list_is_filtered_by_fields_of_the_parents(shelf: AsyncClient, query: str) -> None:
    expected = FILTERS[query]

    assert await ids(shelf, query) == expected
    counted = await shelf.get(f"/novels?{query}&count=exact&limit=1")
    assert counted.headers["X-Total-Count"] == str(len(expected))
    exported = await rows(shelf, f"/novels?{query}&expand=publisher", NDJSON)
    assert [each["id"] for each in exported] == expected
    csv = await shelf.get(f"/novels?{query}", headers={"Accept": CSV})
    assert len(csv.text.splitlines()) == 1 + len(expected)


@pytest.mark.parametrize("sort", ["id", "-id", "-price", "price,title", "-town_id", "town_id"])
async def test_pages_follow_each_other_with_the_parents_and_their_filters(
    shelf: AsyncClient, sort: str
) -> None:
    query = f"publisher.id_lte=2&publisher.country=GB&publisher.country=NO&sort={sort}"
    query += "&expand=publisher,town"
    whole = await rows(shelf, f"/novels?{query}")
    url, found = f"/novels?{query}&limit=1&count=exact", []

    while url:
        page = await shelf.get(url)
        assert page.status_code == 200, page.text
        assert page.headers["X-Total-Count"] == "4"
        found += page.json()
        url = page.links.get("next", {}).get("url", "")

    assert found == whole
    assert sorted(each["id"] for each in found) == [1, 2, 3, 4]
    assert all("publisher" in each and "town" in each for each in found)


async def test_a_cursor_belongs_to_the_filters_of_the_parents(shelf: AsyncClient) -> None:
    page = await shelf.get("/novels?publisher.country=GB&limit=1")
    following = page.links["next"]["url"]

    other = await shelf.get(following.replace("country=GB", "country=NO"))
    without = await shelf.get(following.replace("publisher.country=GB&", ""))
    expanded = await shelf.get(f"{following}&expand=town")

    for answer in (other, without):
        assert_problem(answer, 400, "bad-cursor")
    assert expanded.json() == [{**novel(4), "town": town(1)}]


def told(answer: Response) -> list[tuple[str, str, str]]:
    """Return what is said about each invalid parameter."""
    errors = assert_problem(answer, 422, "validation")["errors"]
    return [(each["pointer"], each["type"], each["detail"]) for each in errors]


SHOULD = "Should be related resources, separated by commas"
REFUSED = {
    "expand=publsher": ("/expand", "expand", f"{SHOULD}, did you mean `publisher`?"),
    "expand=": ("/expand", "expand", SHOULD),
    "expand=publisher,": ("/expand", "expand", SHOULD),
    "expand=publisher_id": ("/expand", "expand", f"{SHOULD}, did you mean `publisher`?"),
    "expand=Publisher": ("/expand", "expand", f"{SHOULD}, did you mean `publisher`?"),
    "expand=publisher.novels": ("/expand", "expand", SHOULD),
    "expand=town,town": ("/expand", "expand", "Should name each resource only once"),
    "expand=town&expand=publisher": ("/expand", "repeated_parameter", "Should occur only once"),
}


@pytest.mark.parametrize("query", REFUSED)
@pytest.mark.parametrize("path", ["/novels", "/novels/1"])
async def test_names_of_relations_are_strict(shelf: AsyncClient, path: str, query: str) -> None:
    [error] = told(await shelf.get(f"{path}?{query}"))

    assert error[:2] == REFUSED[query][:2]
    assert error[2].startswith(SHOULD) or error[2] == REFUSED[query][2]
    if "did you mean" in REFUSED[query][2]:
        assert error[2] == REFUSED[query][2]


UNKNOWN = {
    "/novels?publisher.contry=NO": "Unknown parameter, did you mean `publisher.country`?",
    "/novels?publiser.country=NO": "Unknown parameter, did you mean `publisher.country`?",
    "/novels?publisher.novel_count=1": "Unknown parameter",
    "/novels?publisher.deleted_at=": "Unknown parameter",
    "/novels?publisher=1": "Unknown parameter",
    "/novels?publisher.q=a": "Unknown parameter",
    "/publishers?novels.title=a": "Unknown parameter",
    "/books?expand=town": "Unknown parameter",
    "/books/1?expand=town": "Unknown parameter",
    "/novels?expanded=town": "Unknown parameter, did you mean `expand`?",
    "/novels/1?expnd=town": "Unknown parameter, did you mean `expand`?",
}


@pytest.mark.parametrize("url", UNKNOWN)
async def test_what_is_no_relation_is_an_unknown_parameter(client: AsyncClient, url: str) -> None:
    [(_, kind, detail)] = told(await client.get(url))

    assert kind == "unknown_parameter"
    assert detail.startswith(UNKNOWN[url])


@pytest.mark.parametrize(
    "query",
    [
        "publisher.id=a",
        "publisher.id_gt=1&publisher.id_gt=2",
        "town.population_gt=",
        "sort=town.id",
    ],
)
async def test_filters_by_parents_are_as_strict_as_those_of_their_own_lists(
    client: AsyncClient, query: str
) -> None:
    assert len(told(await client.get(f"/novels?{query}"))) == 1


async def test_csv_has_no_place_for_relations(shelf: AsyncClient) -> None:
    refused = await shelf.get("/novels?expand=town", headers={"Accept": CSV})

    [error] = told(refused)
    assert error == (
        "/expand",
        "format",
        "Is only available in application/json and application/x-ndjson responses",
    )


@pytest.mark.parametrize(
    ("query", "kind", "status"),
    [
        ("limit=100", "application/json", 200),
        ("limit=101", "application/json", 422),
        ("", "application/json", 200),
        ("limit=100", NDJSON, 200),
        ("limit=101", NDJSON, 422),
        ("", NDJSON, 422),
    ],
)
async def test_children_are_shown_for_a_hundred_records_at_most(
    client: AsyncClient, query: str, kind: str, status: int
) -> None:
    answer = await client.get(f"/publishers?expand=novels&{query}", headers={"Accept": kind})

    assert answer.status_code == status
    if status == 422:
        [error] = told(answer)
        assert error[0] == "/limit"
    many = await client.get("/novels?expand=publisher&limit=1000", headers={"Accept": kind})
    assert many.status_code == 200


async def test_reads_at_the_same_time_get_their_own_records_with_their_own_parents(
    shelf: AsyncClient,
) -> None:
    urls = [
        f"/novels/{number}{view}"
        for _ in range(4)
        for number in range(7)
        for view in ("", "?expand=publisher", "?expand=town", "?expand=town,publisher")
    ]

    answers = await asyncio.gather(*(shelf.get(url) for url in urls))

    for url, answer in zip(urls, answers, strict=True):
        number = int(url.split("?")[0].rpartition("/")[2])
        if not 1 <= number <= len(NOVELS):
            assert answer.status_code == 404
            continue
        shown = novel(number)
        for name in url.partition("expand=")[2].split(",") if "?" in url else ():
            row = NOVELS[number - 1]
            shown[name] = publisher(row[2]) if name == "publisher" else town(row[3])
        assert answer.json() == shown
        assert list(answer.json()) == list(shown)


async def test_a_tag_covers_what_is_shown_and_is_good_for_a_change(shelf: AsyncClient) -> None:
    urls = ["/novels/1", "/novels/1?expand=publisher", "/novels/1?expand=town"]
    tags = [(await shelf.get(url)).headers["ETag"] for url in urls]
    assert len({*tags}) == 3
    assert len({tag.strip('"').partition(".")[0] for tag in tags}) == 1
    assert "." not in tags[0]

    await shelf.patch("/publishers/1", json={"country": "IE"})

    for url, tag, status in zip(urls, tags, (304, 200, 304), strict=True):
        read = await shelf.get(url, headers={"If-None-Match": tag})
        assert read.status_code == status
    held = {"If-Match": tags[1]}
    assert (await shelf.patch("/novels/1", json={"price": "1"}, headers=held)).status_code == 200
    assert_problem(await shelf.patch("/novels/1", json={"price": "2"}, headers=held), 412)


async def test_the_tag_of_a_list_covers_the_parents(shelf: AsyncClient) -> None:
    urls = ["/novels", "/novels?expand=publisher", "/publishers?expand=novels"]
    tags = [(await shelf.get(url)).headers["ETag"] for url in urls]

    await shelf.patch("/publishers/1", json={"country": "IE"})

    statuses = [
        (await shelf.get(url, headers={"If-None-Match": tag})).status_code
        for url, tag in zip(urls, tags, strict=True)
    ]
    assert statuses == [304, 200, 200]


async def test_each_row_of_an_import_is_found_with_its_parents(
    shelf: AsyncClient, database_url: URL
) -> None:
    """Names in other scripts, quotes and line ends do not break the JSON of a page."""
    names = ["\n,\n", '"},\n{"', "Ø»\\", ",\n", "\u2028"]
    execute(database_url, "UPDATE novel SET title = title || E',\\n' || id")
    for name in names:
        await shelf.patch("/publishers/1", json={"name": f"x{name}x"})
        page = await shelf.get("/novels?expand=publisher&limit=1")
        assert page.json()[0]["publisher"]["name"] == f"x{name}x"
        following = await shelf.get(page.links["next"]["url"])
        assert [each["id"] for each in following.json()] == [2]
    [first, *_] = await rows(shelf, "/publishers?expand=novels")
    assert [each["title"] for each in first["novels"]] == ["Emma,\n1", "Persuasion,\n4"]


# Nothing is told through a parent that its own list would not tell.


@pytest.fixture
async def treasure(related: AsyncClient, relating: FastAPI) -> AsyncClient:
    """Give an anonymous client where a vault has a coin and a jewel."""
    headers = {"Authorization": await sign_in(relating)}
    await related.post("/vaults", json={"secret": "4711"}, headers=headers)
    for path in ("/coins", "/jewels"):
        answer = await related.post(path, json={"name": "a", "vault_id": 1})
        assert answer.status_code == 201, answer.text
    return related


async def test_a_parent_that_not_everyone_reads_is_not_told_by_an_open_list(
    treasure: AsyncClient, relating: FastAPI
) -> None:
    assert (await treasure.get("/vaults")).status_code == 401
    superuser = {"Authorization": await sign_in(relating, 7)}
    for headers in ({}, superuser):
        for url in (
            "/coins?expand=vault",
            "/coins?vault.secret=4711",
            "/coins?vault.secret_contains=4",
            "/coins/1?expand=vault",
        ):
            [error] = told(await treasure.get(url, headers=headers))
            assert error[1] == "unknown_parameter", url
            assert "vault." not in error[2]


async def test_a_parent_is_told_by_a_list_with_its_permission(
    treasure: AsyncClient, relating: FastAPI
) -> None:
    headers = {"Authorization": await sign_in(relating, 7)}
    vault = {"id": 1, "secret": "4711"}

    listed = await treasure.get("/jewels?expand=vault&vault.secret=4711", headers=headers)
    above = await treasure.get("/vaults?expand=jewels,coins", headers=headers)
    record = await treasure.get("/vaults/1?expand=jewels", headers=headers)

    jewel = {"id": 1, "name": "a", "vault_id": 1}
    assert listed.json() == [{**jewel, "vault": vault}]
    assert above.json() == [{**vault, "jewels": [jewel], "coins": [jewel]}]
    assert record.json() == {**vault, "jewels": [jewel]}
    anonymous = await treasure.get("/jewels?expand=vault&vault.secret=4711")
    assert anonymous.status_code == 401


async def test_what_all_users_read_is_told_by_every_list_that_needs_a_user(
    treasure: AsyncClient, relating: FastAPI
) -> None:
    headers = {"Authorization": await sign_in(relating, 7)}
    guard = {"id": 1, "name": "a", "vault_id": 1}
    await treasure.post("/guards", json={"name": "a", "vault_id": 1})

    above = await treasure.get("/vaults?expand=guards", headers=headers)
    below = await treasure.get("/guards?expand=vault", headers=headers)

    assert above.json() == [{"id": 1, "secret": "4711", "guards": [guard]}]
    [error] = told(below)
    assert error[1] == "unknown_parameter"


async def test_a_record_tells_of_a_parent_only_to_readers_of_that(
    treasure: AsyncClient, relating: FastAPI
) -> None:
    """Everyone who is signed in reads a jewel, but only superusers read the list of vaults."""
    signed_in = {"Authorization": await sign_in(relating, 8, is_superuser=False)}
    assert (await treasure.get("/jewels/1", headers=signed_in)).status_code == 200

    refused = await treasure.get("/jewels/1?expand=vault", headers=signed_in)

    [error] = told(refused)
    assert error[1] == "unknown_parameter"
    document = (await treasure.get("/openapi.json")).json()
    names = {
        path: {each["name"] for each in parameters_of(document, path)}
        for path in ("/jewels", "/jewels/{id}", "/coins", "/coins/{id}", "/vaults/{id}")
    }
    assert {path: "expand" in found for path, found in names.items()} == {
        "/jewels": True,
        "/jewels/{id}": False,
        "/coins": False,
        "/coins/{id}": False,
        "/vaults/{id}": True,
    }
    assert "vault.secret" in names["/jewels"]
    assert not [name for name in names["/coins"] if name.startswith("vault.")]
