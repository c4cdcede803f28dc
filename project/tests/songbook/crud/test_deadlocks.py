"""Deadlocks and serialization failures: the first statement of a transaction is repeated."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator

import pytest
from fastapi import Request, Response
from httpx import AsyncClient
from httpx import Response as Answer
from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import col

from songbook.crud import TransactionDep
from songbook.db.database import MAX_ATTEMPTS, pause
from songbook.db.statements import BoundStatement
from songbook.http import Router
from tests.samples.resources.books import Book, books
from tests.samples.resources.towns import towns
from tests.support.asserts import assert_unavailable
from tests.support.databases import beside, empty, waiting
from tests.support.marks import slow
from tests.support.replays import assert_again, assert_first
from tests.support.routes import add_both_ways, each_way, lent, open_router, serving
from tests.support.triggers import fail_attempts
from tests.support.writes import TOWN, with_and_without_key

pytestmark = [pytest.mark.long, slow]

BOTH_BOOKS = BoundStatement("UPDATE book SET year = year + 1 WHERE id IN (1, 2) RETURNING id", [])

each_state = pytest.mark.parametrize("state", ["40001", "40P01"])

calls: list[str] = []
"""The handlers that were called."""


async def change_book_first(request: Request, db: TransactionDep) -> Response:
    """Change a book, then store a town."""
    calls.append("book first")
    books.updated(await db.fetch(books.update(1, {"year": col(Book.year) + 1})))
    return towns.created(await db.fetch(towns.insert(TOWN)), request)


async def change_book_last(db: TransactionDep) -> Response:
    """Store a town, then change a book."""
    calls.append("book last")
    await db.fetch(towns.insert(TOWN))
    return books.updated(await db.fetch(books.update(1, {"year": col(Book.year) + 1})))


async def change_both_books(db: TransactionDep) -> Response:
    """Change two books in one statement, then store a town."""
    calls.append("both at once")
    await db.fetch(BOTH_BOOKS)
    await db.fetch(towns.insert(TOWN))
    return Response()


async def change_one_book_and_the_other(db: TransactionDep) -> Response:
    """Store a town, then change one book and another in a statement of each."""
    calls.append("one and the other")
    await db.fetch(towns.insert(TOWN))
    await db.fetch(books.update(1, {"year": col(Book.year) + 1}))
    return books.updated(await db.fetch(books.update(2, {"year": col(Book.year) + 1})))


@pytest.fixture
def router() -> Router:
    """Give the routes of the handlers."""
    router = open_router()
    add_both_ways(router, "/book-first", change_book_first, status_code=201)
    add_both_ways(router, "/book-last", change_book_last)
    add_both_ways(router, "/both-at-once", change_both_books)
    add_both_ways(router, "/one-and-the-other", change_one_book_and_the_other)
    return router


@pytest.fixture
async def beside_service(breakable_url: URL) -> AsyncIterator[AsyncConnection]:
    """Give a connection beside the service's; there are two books, and nothing else."""
    calls.clear()
    async with beside(breakable_url) as connection:
        await empty(connection)
        await connection.execute(
            text("INSERT INTO book (name, author, year) VALUES ('a', 'b', 2000), ('c', 'd', 2000)")
        )
        yield connection
        await empty(connection)


async def stored(connection: AsyncConnection) -> tuple[list[int], int, int]:
    """Return the years of the books, and the numbers of towns and keys."""
    years = [*await connection.scalars(text("SELECT year FROM book ORDER BY id"))]
    numbers = "SELECT (SELECT count(*) FROM towns), (SELECT count(*) FROM idempotency)"
    [towns_stored, keys] = (await connection.execute(text(numbers))).one()
    return years, towns_stored, keys


@each_way
@with_and_without_key
@each_state
async def test_a_first_statement_is_repeated_and_its_handler_called_once(
    breakable_url: URL,
    beside_service: AsyncConnection,
    router: Router,
    way: str,
    headers: dict[str, str],
    state: str,
) -> None:
    await fail_attempts(beside_service, state, MAX_ATTEMPTS - 1)

    async with serving(router, breakable_url) as (client, _):
        answer = await client.post(f"{way}/book-first", headers=headers)
        assert_first(answer)
        assert calls == ["book first"]
        if headers:
            assert_again(await client.post(f"{way}/book-first", headers=headers), answer)
        assert await stored(beside_service) == ([2001, 2000], 1, len(headers))


@with_and_without_key
@each_state
async def test_a_first_statement_that_has_to_be_repeated_too_often_is_given_up(
    breakable_url: URL,
    beside_service: AsyncConnection,
    router: Router,
    headers: dict[str, str],
    state: str,
) -> None:
    await fail_attempts(beside_service, state, MAX_ATTEMPTS)

    async with serving(router, breakable_url) as (client, app):
        assert_unavailable(await client.post("/direct/book-first", headers=headers))
        assert (await stored(beside_service), lent(app)) == (([2000, 2000], 0, 0), 0)
        assert_first(await client.post("/direct/book-first", headers=headers))


@each_way
@with_and_without_key
@each_state
async def test_a_later_statement_is_not_repeated_and_leaves_nothing_of_the_first(
    breakable_url: URL,
    beside_service: AsyncConnection,
    router: Router,
    way: str,
    headers: dict[str, str],
    state: str,
) -> None:
    await fail_attempts(beside_service, state, 1)

    async with serving(router, breakable_url) as (client, app):
        assert_unavailable(await client.post(f"{way}/book-last", headers=headers))
        assert (await stored(beside_service), lent(app)) == (([2000, 2000], 0, 0), 0)
        assert_first(await client.post(f"{way}/book-last", headers=headers))
        assert await stored(beside_service) == ([2001, 2000], 1, len(headers))
    assert calls == ["book last", "book last"]


async def meet(
    client: AsyncClient, path: str, admin: AsyncConnection, other: AsyncConnection
) -> Answer:
    """Let a request and another transaction each wait for a book that the other one has changed.

    PostgreSQL ends the one of the request: it looks after a second, and for the other one not yet.
    """
    await other.execute(text("SET deadlock_timeout = '1min'"))
    await other.execute(text("BEGIN"))
    await other.execute(text("UPDATE book SET year = 1 WHERE id = 2"))
    asked = asyncio.create_task(client.post(path))
    await waiting(admin, 1)
    await other.execute(text("UPDATE book SET year = 1 WHERE id = 1"))
    await other.execute(text("COMMIT"))
    return await asked


async def test_a_deadlock_of_the_first_statement_is_not_noticed(
    breakable_url: URL, beside_service: AsyncConnection, router: Router
) -> None:
    async with serving(router, breakable_url) as (client, _), beside(breakable_url) as other:
        answer = await meet(client, "/direct/both-at-once", beside_service, other)

        assert_first(answer)
        assert await stored(beside_service) == ([2, 2], 1, 0)
    assert calls == ["both at once"]


async def test_a_deadlock_of_a_later_statement_is_told_and_nothing_is_left(
    breakable_url: URL, beside_service: AsyncConnection, router: Router
) -> None:
    async with serving(router, breakable_url) as (client, app), beside(breakable_url) as other:
        answer = await meet(client, "/direct/one-and-the-other", beside_service, other)

        assert_unavailable(answer)
        assert (await stored(beside_service), lent(app)) == (([1, 1], 0, 0), 0)
    assert calls == ["one and the other"]


async def test_a_transaction_pauses_without_a_connection(
    breakable_url: URL, beside_service: AsyncConnection, router: Router
) -> None:
    await fail_attempts(beside_service, "40001", 2)

    async with serving(router, breakable_url) as (client, app):
        used = [lent(app)]
        asked = asyncio.create_task(client.post("/direct/book-first"))
        while not asked.done():
            await asyncio.sleep(0)
            if lent(app) != used[-1]:
                used.append(lent(app))

        assert_first(await asked)
        assert used == [0, 1, 0, 1, 0, 1, 0]


async def test_a_pause_is_random_and_grows_with_the_attempts() -> None:
    async def measured(attempt: int) -> float:
        begun = time.perf_counter()
        await pause(attempt)
        return time.perf_counter() - begun

    for attempt in range(1, MAX_ATTEMPTS):
        rounds: list[list[float]] = []
        shortest = median = longest = 1.0
        # a busy machine makes some longer
        while len(rounds) < 5 or (longest > 0.06 and len(rounds) < 100):
            rounds.append(sorted(await asyncio.gather(*(measured(attempt) for _ in range(100)))))
            shortest = min(pauses[0] for pauses in rounds) / attempt
            median = min(statistics.median(pauses) for pauses in rounds) / attempt
            longest = min(pauses[-1] for pauses in rounds) / attempt
        assert 0.008 <= shortest <= 0.02  # the clock of the loop has milliseconds
        assert 0.02 <= median <= 0.04
        assert 0.04 <= longest <= 0.06
