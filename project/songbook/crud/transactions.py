"""The write of a request: one statement, or a transaction that is tried dry or kept under a key.

A handler asks for `WriteDep` or `OnceDep` in the place of the database, and does not know.
"""

from contextlib import AsyncExitStack, suppress
from typing import Annotated

import asyncpg
from fastapi import Depends
from starlette.requests import Request
from starlette.responses import Response

from songbook.crud.idempotency import IDEMPOTENCY_KEY, WAIT_SECONDS, Key, read_key
from songbook.db import ATTEMPTS, GIVEN_UP, NOTHING, RETRIED, Database, Executor, Query
from songbook.errors import KeyInUse, Problem
from songbook.http import DRY_RUN, StrictRequest, guard, is_tried, read_options

_LEFT_OUT = {b"location", b"etag", b"content-length"}
_TURN_SECONDS = 30  # for a turn of a COPY whose rows are all here
_BEGIN = "BEGIN"
_BEGIN_WITH_KEY = f"BEGIN; SET LOCAL lock_timeout = '{WAIT_SECONDS}s'"


class Write:
    """What one request writes: a transaction that begins with the first statement.

    It ends when the answer is made: kept together with that under the key, if there is one; taken
    back if it is only tried.
    """

    def __init__(self, db: Database, key: Key | None, *, dry_run: bool) -> None:
        self._dry_run = dry_run
        self._db = db
        self._key = None if dry_run else key
        self._driver: asyncpg.Connection | None = None
        self._lent = AsyncExitStack()
        self._seconds: float | None = None

    async def fetch(self, query: Query) -> asyncpg.Record | None:
        """Run one statement in the transaction; return its row.

        Raises Unavailable when no connection is to be had, KeyInUse and KeyReused, and asyncpg's
        errors as they are.
        """
        if query is NOTHING:
            return None
        for _ in range(ATTEMPTS - 1):
            is_first = self._driver is None
            try:
                return await self._db.run(await self.begin(), query)
            except RETRIED as error:
                if not is_first:
                    raise
                await self._leave(error)
        return await self._db.run(await self.begin(), query)

    async def begin(self, *, bulk: bool = False) -> asyncpg.Connection:
        """Return the connection of the transaction, which has the key; `bulk`: one for a COPY."""
        if self._driver is None:
            if self._key:
                await self._key.wait()
            self._seconds = self._db.bulk_seconds if bulk else None
            lent = self._db.bulk(_TURN_SECONDS) if bulk else self._db.connection()
            driver = await self._lent.enter_async_context(lent)
            self._driver = driver
            await driver.execute(_BEGIN_WITH_KEY if self._key else _BEGIN)
            if self._key and (answer := await self._key.claim(self._db, driver)):
                raise _Replayed(answer)
        return self._driver

    async def concluded(self, answer: Response) -> Response:
        """End the transaction, and return the answer that the client gets."""
        if self._driver is None:
            return _tried(answer) if self._dry_run else answer
        try:
            if self._dry_run:
                answer = _tried(answer)
            else:
                await self._commit(self._driver, answer)
        except BaseException as error:
            await self._leave(error)
            raise
        await self._leave(None)
        return answer

    async def failed(self, error: BaseException) -> Response:
        """Take everything back; return the answer that is stored under the key, or raise again."""
        is_new = self._driver is not None
        await self._leave(error)
        if isinstance(error, _Replayed):
            return error.answer
        # A request that was done may not be possible any more, as with a password that it changed.
        is_refused = isinstance(error, Problem) and error.status < 500
        may_be_done = is_refused and not is_new and not isinstance(error, KeyInUse)
        if self._key and may_be_done and (answer := await self._key.find(self._db)):
            return answer
        raise error

    async def _commit(self, driver: asyncpg.Connection, answer: Response) -> None:
        if self._key:
            await self._key.keep(self._db, driver, answer)
        ended = await driver.execute("COMMIT", timeout=self._seconds)
        if ended != "COMMIT":  # a statement had failed, and somebody had not minded
            raise Problem

    async def _leave(self, error: BaseException | None) -> None:
        """Give the connection back, in no transaction."""
        driver, self._driver = self._driver, None
        try:
            if driver is not None and not isinstance(error, GIVEN_UP):
                await _roll_back(driver)
        finally:
            kind, traceback = (type(error), error.__traceback__) if error else (None, None)
            await self._lent.__aexit__(kind, error, traceback)
            if self._key:
                self._key.leave()


class _Replayed(Exception):
    """The request was done before, and this was its answer."""

    def __init__(self, answer: Response) -> None:
        super().__init__()
        self.answer = answer


async def _roll_back(driver: asyncpg.Connection) -> None:
    """End a transaction that is not ended; a connection that cannot do that is given up later."""
    with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
        if driver.is_in_transaction():
            await driver.execute("ROLLBACK")


def _tried(answer: Response) -> Response:
    """Return the answer of a write that is taken back: of no address, and of no version."""
    tried = Response(bytes(answer.body), 200)
    kept = [header for header in answer.raw_headers if header[0] not in _LEFT_OUT]
    tried.raw_headers = [*tried.raw_headers, *kept]
    return tried


def begin_write(request: Request, key: str | None, *, dry_run: bool) -> Write:
    """Return the write of a request, which ends with the answer of its route."""
    assert isinstance(request, StrictRequest)
    db: Database = request.app.state.database
    write = Write(db, Key(key, request) if key else None, dry_run=dry_run)
    request.scope["write"] = write
    return write


def _executor(request: Request, key: str | None) -> Executor:
    """Return the write of a request, or the database itself for one that is nothing special."""
    dry_run = is_tried(read_options(request.scope["query_string"], (DRY_RUN,)))
    if dry_run or key:
        return begin_write(request, key, dry_run=dry_run)
    db: Database = request.app.state.database
    return db


@guard(DRY_RUN, refuses=(422, 503))
async def write(request: Request) -> Executor:
    """Return what runs the statement of a write; the query string may ask that it is only tried."""
    return _executor(request, None)


@guard(DRY_RUN, IDEMPOTENCY_KEY, refuses=(400, 409, 422, 503))
async def write_once(request: Request) -> Executor:
    """Return what runs the statement of a write, once for each Idempotency-Key."""
    return _executor(request, read_key(request))


WriteDep = Annotated[Executor, Depends(write)]
OnceDep = Annotated[Executor, Depends(write_once)]
