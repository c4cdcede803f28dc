"""The addresses of files beside the routes of a service."""

from typing import Annotated

import pytest
from fastapi import Depends, FastAPI, Request, Response
from httpx import ASGITransport, AsyncClient
from sqlalchemy import bindparam
from sqlmodel import col

from songbook.application import create_app
from songbook.auth import PUBLIC
from songbook.bulk import imports_of
from songbook.crud import ReadDep, WriteDep
from songbook.http import Router
from songbook.lists import Page, page_of
from tests.samples.resources.books import Book, BookCreate, BookPublic, books
from tests.samples.settings import Settings
from tests.support.routes import asking, open_router

OF_AUTHOR = col(Book.author) == bindparam("author")
AuthorsPage = Annotated[Page, Depends(page_of(books, where=OF_AUTHOR))]
BooksPage = Annotated[Page, Depends(page_of(books))]


async def _nothing() -> None:
    """Be a dependency that only FastAPI calls."""


async def list_of_author(author: str, page: AuthorsPage, db: ReadDep) -> Response:
    """List the books of an author."""
    return await page.response(db, author=author)


async def list_books(page: BooksPage, db: ReadDep) -> Response:
    """List books."""
    return await page.response(db)


async def create_book(
    body: BookCreate, request: Request, db: WriteDep, *, is_new: bool = True
) -> Response:
    """Create a book."""
    assert is_new
    row = await db.fetch(books.insert(body.model_dump()))
    return books.created(row, request)


@pytest.mark.parametrize("dependencies", [[], [Depends(_nothing)]], ids=["direct", "solved"])
async def test_a_list_at_the_end_of_whose_path_is_a_parameter_has_files(
    app: FastAPI, client: AsyncClient, dependencies: list[object]
) -> None:
    for author in ("King", "Ames"):
        await client.post("/books", json={"name": f"by {author}", "author": author})
    router = Router(dependencies=[PUBLIC, *dependencies])
    router.add_api_route("/by/{author}", list_of_author)

    async with asking(router, app) as other:
        listed = (await other.get("/by/King")).json()
        file = await other.get("/by/King.csv")
        lines = await other.get("/by/Ames.ndjson")

    assert [each["author"] for each in listed] == ["King"]
    assert file.headers["content-disposition"] == 'attachment; filename="King.csv"'
    assert [line.split(b",")[1] for line in file.content.splitlines()] == [b"name", b"by King"]
    assert lines.content.count(b"\n") == 1


async def test_a_route_of_the_service_at_the_address_of_a_file_is_kept(
    app: FastAPI, client: AsyncClient
) -> None:
    router = open_router()
    bulk = imports_of(books, BookCreate)
    router.add_api_route("/books", list_books, response_model=list[BookPublic])
    router.post("/books", status_code=201, bulk=bulk)(create_book)
    router.add_api_route("/books.csv", lambda: Response("own"))

    async with asking(router, app) as other:
        own = await other.get("/books.csv")
        allowed = (await other.options("/books.csv")).headers["allow"]
        stored = await other.post(
            "/books.csv?is_new=true",
            content=b"name,author\na,b\n",
            headers={"Content-Type": "text/csv"},
        )
        refused = await other.post("/books.csv?is_new=false", headers={"Content-Type": "text/csv"})

    assert own.text == "own"
    assert refused.status_code == 422
    assert allowed == "GET, HEAD, OPTIONS, POST"
    assert stored.status_code == 201, stored.text
    assert (await client.get("/books")).json()[0]["name"] == "a"


async def test_dependencies_may_be_overridden_for_files(app: FastAPI, client: AsyncClient) -> None:
    await client.post("/books", json={"name": "a", "author": "b"})
    router = open_router()
    router.add_api_route("/books", list_books, response_model=list[BookPublic])

    own = create_app(Settings(), [router])
    own.state.service.database = app.state.service.database
    own.dependency_overrides[_nothing] = _nothing
    async with AsyncClient(transport=ASGITransport(own), base_url="http://songbook") as other:
        answer = await other.get("/books.csv")

    assert answer.content.decode().splitlines() == ["id,name,author,year", "1,a,b,"]
