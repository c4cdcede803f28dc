"""Lists with a condition of their own, whose values come from the path or the principal."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI
from httpx import AsyncClient, Response
from sqlalchemy import bindparam
from sqlalchemy.engine import URL
from sqlmodel import col, select
from starlette.responses import Response as Answer

from songbook.application import create_app
from songbook.auth import OPEN, OWNER, OptionalUser
from songbook.crud import Id, ReadDep
from songbook.http import Router
from songbook.lists import Page, lists_in, page_of
from songbook.models import Relations
from tests.samples.resources.books import Book, BookPublic, books
from tests.samples.resources.clippings import Clipping, ClippingPublic, clippings
from tests.samples.resources.folders import Folder
from tests.samples.resources.members import Member
from tests.samples.resources.novels import Novel, NovelPublic, novels
from tests.samples.resources.publishers import Publisher, PublisherPublic, publishers
from tests.samples.settings import Settings
from tests.support.asserts import assert_problem
from tests.support.clients import client_of, sign_in
from tests.support.databases import spelled
from tests.support.openapi import parameters_of
from tests.support.owners import add, people_of

CSV, NDJSON = "text/csv", "application/x-ndjson"
LISTED = {1: [1, 3, 5], 2: [2, 4]}


@pytest.fixture
async def shelf(client: AsyncClient) -> AsyncClient:
    """Give a client of a service with two publishers and their novels, and one without any."""
    for name in ("Faber", "Cappelen", "Nowhere"):
        await client.post("/publishers", json={"name": name})
    for number in range(1, 6):
        novel = {"title": f"Novel {number}", "price": number, "publisher_id": 2 - number % 2}
        await client.post("/novels", json=novel)
    return client


async def walk(client: AsyncClient, url: str) -> list[int]:
    """Return the ids of all pages of one row, along the links."""
    found: list[int] = []
    following: str | None = f"{url}{'&' if '?' in url else '?'}limit=1"
    while following:
        page = await client.get(following)
        assert page.status_code == 200, page.text
        found += [each["id"] for each in page.json()]
        following = page.links.get("next", {}).get("url")
    return found


@pytest.mark.parametrize("publisher", LISTED)
async def test_a_list_under_a_parent_can_do_what_every_list_can(
    shelf: AsyncClient, publisher: int
) -> None:
    url, expected = f"/publishers/{publisher}/novels", LISTED[publisher]

    assert await walk(shelf, url) == expected
    assert await walk(shelf, f"{url}?sort=-price") == expected[::-1]
    assert await walk(shelf, f"{url}?price_gt=2&q=novel") == [i for i in expected if i > 2]
    page = await shelf.get(f"{url}?count=exact&limit=1&expand=publisher")
    assert page.headers["X-Total-Count"] == str(len(expected))
    assert page.headers["Link"].startswith(f"<{url}?")
    assert page.json()[0]["publisher"]["id"] == publisher
    csv = await shelf.get(url, headers={"Accept": CSV})
    assert [line.split(",")[0] for line in csv.text.splitlines()[1:]] == [str(i) for i in expected]
    lines = (await shelf.get(f"{url}?expand=publisher", headers={"Accept": NDJSON})).text
    assert [json.loads(line)["id"] for line in lines.splitlines()] == expected


async def test_a_cursor_is_valid_under_its_own_parent_only(shelf: AsyncClient) -> None:
    page = await shelf.get("/publishers/1/novels?limit=1")
    following = page.links["next"]["url"]

    assert (await shelf.get(following)).status_code == 200
    other = following.replace("/publishers/1/", "/publishers/2/")
    assert_problem(await shelf.get(other), 400, "bad-cursor")
    assert_problem(await shelf.get(other, headers={"Accept": CSV}), 400, "bad-cursor")
    everywhere = following.replace("/publishers/1/novels", "/novels")
    assert_problem(await shelf.get(everywhere), 400, "bad-cursor")


@pytest.mark.parametrize("kind", ["application/json", CSV, NDJSON])
async def test_a_list_without_its_parent_is_not_found(shelf: AsyncClient, kind: str) -> None:
    async def answer(publisher: int) -> Response:
        return await shelf.get(f"/publishers/{publisher}/novels", headers={"Accept": kind})

    empty = await answer(3)
    assert (empty.status_code, empty.text.count("Novel")) == (200, 0)
    await shelf.delete("/publishers/3")
    for missing in (3, 99, 10**30):
        assert assert_problem(await answer(missing), 404)["detail"] == "Publisher not found"
    await shelf.post("/publishers/3/restore")
    assert (await answer(3)).status_code == 200


async def test_the_document_has_the_path_and_the_parameters_of_a_list_under_a_parent(
    app: FastAPI,
) -> None:
    document, path = app.openapi(), "/publishers/{id}/novels"

    under = parameters_of(document, path)

    assert [each["name"] for each in under if each["in"] == "path"] == ["id"]
    others = [each for each in under if each["in"] != "path"]
    assert others == parameters_of(document, "/novels")
    assert "404" in document["paths"][path]["get"]["responses"]


VISIBLE = (col(Book.year) > 2000) | (col(Book.id) == bindparam("user_id"))
router = Router(dependencies=[OPEN])


@router.get("/visible-books", response_model=list[BookPublic])
async def list_visible_books(
    page: Annotated[Page, Depends(page_of(books, where=VISIBLE))], user: OptionalUser, db: ReadDep
) -> Answer:
    """List the books of this millennium, and that of the user."""
    return await page.response(db, user_id=user.id if user else None)


@router.get("/valueless-books", response_model=list[BookPublic])
async def list_valueless_books(
    page: Annotated[Page, Depends(page_of(books, where=VISIBLE))], db: ReadDep
) -> Answer:
    """Forget the value of the condition."""
    return await page.response(db)


owned = Router(dependencies=[OWNER])
in_folder = page_of(
    clippings,
    where=col(Clipping.folder_id) == bindparam("id"),
    parent=select(Folder).where(col(Folder.id) == bindparam("id")),
)


@owned.get("/folders/{id}/clippings", response_model=list[ClippingPublic])
async def list_clippings_in_folder(
    id: Id, page: Annotated[Page, Depends(in_folder)], db: ReadDep
) -> Answer:
    """List the clippings in a folder."""
    return await page.response(db, id=id)


DEAR = Annotated[Page, Depends(page_of(novels, where=col(Novel.price) > 20))]


@router.get("/dear-novels", response_model=list[NovelPublic])
async def list_dear_novels(page: DEAR, db: ReadDep) -> Answer:
    """List some novels."""
    return await page.response(db)


@router.get("/publishers", response_model=list[PublisherPublic])
async def list_publishers(
    page: Annotated[Page, Depends(page_of(publishers))], db: ReadDep
) -> Answer:
    """List publishers."""
    return await page.response(db)


@pytest.fixture
async def listing(
    database_url: URL,
    client: AsyncClient,  # noqa: ARG001 - it empties the tables
) -> AsyncIterator[FastAPI]:
    """Give a service with lists whose conditions are of all kinds."""
    app = create_app(Settings(database_url=spelled(database_url)), [router, owned], accounts=Member)
    async with app.router.lifespan_context(app):
        yield app


async def test_each_user_sees_what_is_public_and_the_own_at_the_same_time_as_others(
    listing: FastAPI, client: AsyncClient
) -> None:
    for year in (1990, 1991, 2001, None):
        await client.post("/books", json={"name": "a", "author": "b", "year": year})
    expected = {0: [3], 1: [1, 3], 2: [2, 3], 4: [3, 4]}
    tokens = {user: await sign_in(listing, user, is_superuser=False) for user in (1, 2, 4)}

    async def visible(user: int) -> bool:
        headers = {"Authorization": tokens[user]} if user else {}
        async with client_of(listing, **headers) as own:
            page = await own.get("/visible-books?count=exact")
        found = [each["id"] for each in page.json()]
        return page.headers["X-Total-Count"] == str(len(found)) and found == expected[user]

    assert all(await asyncio.gather(*(visible(user) for user in [*expected] * 20)))

    async with client_of(listing, Authorization=tokens[1]) as own:
        assert await walk(own, "/visible-books") == [1, 3]
        following = (await own.get("/visible-books?limit=1")).links["next"]["url"]
    async with client_of(listing) as nobody:
        assert_problem(await nobody.get(following), 400, "bad-cursor")
        bad = await nobody.get("/visible-books", headers={"Authorization": "Bearer x"})
        assert_problem(bad, 401)


@pytest.mark.parametrize("kind", ["application/json", CSV])
async def test_a_list_under_a_parent_of_another_user_is_not_found(
    listing: FastAPI, app: FastAPI, kind: str
) -> None:
    ada, bob, superuser, _ = await people_of(app)
    await add(ada, name="Poems")
    await add(ada, "/clippings", text="Clipping of Ada", folder_id=1)

    async def answer(client: AsyncClient) -> Response:
        token = client.headers["Authorization"]
        async with client_of(listing, Authorization=token, Accept=kind) as own:
            return await own.get("/folders/1/clippings")

    for client in (ada, superuser):
        assert "Clipping of Ada" in (await answer(client)).text
    assert assert_problem(await answer(bob), 404)["detail"] == "Folder not found"


async def test_a_condition_without_its_values_raises(
    listing: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    async with client_of(listing) as nobody:
        assert_problem(await nobody.get("/valueless-books"), 500)

    assert "Page.response needs the values of user_id, and has none" in caplog.text


async def test_a_list_with_a_condition_is_no_relation_of_others(listing: FastAPI) -> None:
    settings = listing.state.service.settings
    relations = Relations(lists_in(listing.routes, settings))

    assert relations.of(Publisher, bool) == {}
    assert [*relations.of(Novel, lambda readers: readers is None)] == ["publisher"]
