"""A session in the transaction of a request."""

from collections.abc import AsyncIterator

import pytest
from httpx import ASGITransport, AsyncClient
from sqlalchemy.engine import URL

from songbook.auth import PUBLIC
from songbook.crud import SessionDep
from songbook.http import Router
from tests.samples.resources.books import Book, BookCreate
from tests.support.databases import execute, spelled
from tests.support.services import SAMPLES

BOOK = {"name": "Stoner", "author": "John Williams"}


@pytest.fixture
async def adding(migrated_url: URL) -> AsyncIterator[AsyncClient]:
    """Give a client of a handler that adds to its session and returns."""
    app = SAMPLES.app(database_url=spelled(migrated_url))
    router = Router(dependencies=[PUBLIC])

    @router.post("/added")
    async def add(body: BookCreate, session: SessionDep) -> int:
        session.add(Book.model_validate(body))
        return 1

    app.include_router(router)
    transport = ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        AsyncClient(transport=transport, base_url="http://samples") as client,
    ):
        yield client


async def test_what_a_handler_only_adds_is_stored_once_for_a_key(
    adding: AsyncClient, migrated_url: URL
) -> None:
    answers = [
        await adding.post("/added", json=BOOK, headers={"Idempotency-Key": "once"})
        for _ in range(2)
    ]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[1].headers["idempotency-replayed"] == "true"
    assert execute(migrated_url, "SELECT count(*) FROM book") == [(1,)]
