"""Lists that show less of a table, or more, than its own resource does."""

from typing import Annotated

import pytest
from fastapi import Depends, FastAPI, Response
from httpx import AsyncClient

from songbook.crud import ReadDep, Records
from songbook.http import Router
from songbook.lists import Page, page_of
from songbook.models import RecordPublic
from tests.samples.resources.books import Book
from tests.support.asserts import assert_problem
from tests.support.routes import asking, open_router


class Title(RecordPublic):
    """A book without its author."""

    name: str


TitlesPage = Annotated[Page, Depends(page_of(Records(Book, Title)))]


@pytest.fixture
def router() -> Router:
    """Give the routes of the lists."""
    router = open_router()

    @router.get("/titles", response_model=list[Title])
    async def list_titles(page: TitlesPage, db: ReadDep) -> Response:
        """List the titles of books."""
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
    names = [each["name"] for each in TitlesPage.__metadata__[0].dependency.parameters]
    assert "q" not in names
