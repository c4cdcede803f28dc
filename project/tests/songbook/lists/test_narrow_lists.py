"""Lists that show less of a table, or more, than its own resource does."""

import json
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Response
from httpx import AsyncClient
from sqlalchemy import JSON, cast, func, literal_column, select
from sqlmodel import col

from songbook.crud import ReadDep, Records
from songbook.http import Router
from songbook.lists import Page, page_of
from songbook.models import RecordPublic, table_of
from tests.samples.resources.books import Book
from tests.samples.resources.novels import Novel
from tests.samples.resources.publishers import Publisher
from tests.support.asserts import assert_problem
from tests.support.routes import asking, open_router


class Title(RecordPublic):
    """A book without its author."""

    name: str


class Catalog(RecordPublic):
    """A publisher with its novels."""

    name: str
    novels: list[dict[str, Any]]
    pretty: dict[str, Any]


NOVELS = (
    select(func.json_agg(table_of(Novel).table_valued()))
    .where(col(Novel.publisher_id) == col(Publisher.id))
    .scalar_subquery()
)
PRETTY = cast(literal_column("""E'{"a": 1,\\n"b": 2}'"""), JSON)

titles = page_of(Records(Book, Title))
catalogs = Records(Publisher, Catalog, {"novels": NOVELS, "pretty": PRETTY})
TitlesPage = Annotated[Page, Depends(titles)]
CatalogsPage = Annotated[Page, Depends(page_of(catalogs))]


@pytest.fixture
def router() -> Router:
    """Give the routes of the lists."""
    router = open_router()

    @router.get("/titles", response_model=list[Title])
    async def list_titles(page: TitlesPage, db: ReadDep) -> Response:
        """List the titles of books."""
        return await page.response(db)

    @router.get("/catalogs", response_model=list[Catalog])
    async def list_catalogs(page: CatalogsPage, db: ReadDep) -> Response:
        """List publishers with their novels."""
        return await page.response(db)

    return router


@pytest.mark.parametrize(
    "query",
    ["q=poe", "q=p*", "author=Poe", "author_starts=P", "sort=author", "fields=author", "year_gt=1"],
)
async def test_what_a_list_does_not_show_it_does_not_find_either(
    app: FastAPI, client: AsyncClient, router: Router, query: str
) -> None:
    await client.post("/books", json={"name": "The Raven", "author": "Poe", "year": 1845})

    async with asking(router, app) as other:
        [error] = assert_problem(await other.get(f"/titles?{query}"), 422)["errors"]
        assert error["pointer"] == f"/{query.partition('=')[0]}"
        assert "`q`" not in error["detail"]
    assert "q" not in [each["name"] for each in titles.parameters]


async def test_computed_json_with_line_ends_is_in_one_line_of_a_page_and_of_a_file(
    app: FastAPI, client: AsyncClient, router: Router
) -> None:
    for name in ("Faber", "Virago"):
        await client.post("/publishers", json={"name": name})
    for title in ("Emma", "Pan\r\n"):
        await client.post("/novels", json={"title": f"A {title} B", "publisher_id": 1})

    async with asking(router, app) as other:
        first = await other.get("/catalogs?limit=1")
        second = await other.get(first.links["next"]["url"])
        file = await other.get("/catalogs.ndjson")

    rows = [json.loads(line) for line in file.text.splitlines()]
    assert [each["title"] for each in rows[0]["novels"]] == ["A Emma B", "A Pan\r\n B"]
    assert first.json() + second.json() == rows
    assert rows[1]["pretty"] == {"a": 1, "b": 2}
