"""The writes of a request: one statement, or a transaction that is kept whole or not at all.

A handler asks for `WriteDep`, `TransactionDep` or `SessionDep`: keys and dry runs need no code.
"""

from contextlib import AsyncExitStack, suppress
from typing import Annotated, Any

import asyncpg
from fastapi import Depends
from starlette.exceptions import HTTPException
from starlette.responses import Response

from songbook.crud.idempotency import IDEMPOTENCY_KEY, WAIT_SECONDS, IdempotencyKey, read_key
from songbook.db import (
    INVALIDATING_ERRORS,
    MAX_ATTEMPTS,
    NO_ROW,
    RETRYABLE_ERRORS,
    BoundStatement,
    Database,
    Executor,
    SingleStatement,
    pause,
)
from songbook.errors import IdempotencyKeyInUse, Problem, to_problem
from songbook.http import (
    DRY_RUN,
    KEYED_METHODS,
    Opened,
    StrictRequest,
    is_dry_run,
    opening_dependency,
    read_options,
)

_LEFT_OUT = {b"location", b"etag", b"content-length"}
_BULK_WAIT_SECONDS = 30  # for a place of a COPY whose rows are all here
WRITE_PARAMETERS: dict[str, Any] = {
    "parameters": (DRY_RUN,),
    "error_statuses": (422, 503),
    "key_parameter": IDEMPOTENCY_KEY,
}
"""What a dependency that writes reads of a request, and refuses."""

LOCK_TIMEOUT = f"SET LOCAL lock_timeout = '{WAIT_SECONDS}s'"


class Transaction:
    """The transaction of a request, which begins with the first statement.

    It ends when the response is made: committed together with that, which is stored under the key
    if there is one; rolled back if the request is a dry run.
    """

    def __init__(
        self, db: Database, key: IdempotencyKey | None = None, *, dry_run: bool = False
    ) -> None:
        self._dry_run = dry_run
        self._db = db
        self._key = None if dry_run else key
        self._connection: asyncpg.Connection | None = None
        self._is_claimed = False
        self._stack = AsyncExitStack()
        self._timeout: float | None = None

    async def fetch(self, query: BoundStatement) -> asyncpg.Record | None:
        """Run one statement in the transaction; return its row.

        The first is repeated after a deadlock or a serialization failure. Raises ServiceUnavailable
        when no connection is to be had, IdempotencyKeyInUse and IdempotencyKeyReused, and asyncpg's
        errors as they are.
        """
        if query is NO_ROW:
            return None
        for attempt in range(1, MAX_ATTEMPTS):
            is_first = self._connection is None
            try:
                return await self._db.fetch_on(await self.begin(), query)
            except RETRYABLE_ERRORS as error:
                if not is_first:
                    raise
                await self._release(error)
            await pause(attempt)
        return await self._db.fetch_on(await self.begin(), query)

    async def begin(
        self, settings: str = "", *, bulk_seconds: float | None = None
    ) -> asyncpg.Connection:
        """Return the connection of the transaction, which has the key.

        With `bulk_seconds`, which its commit may take, it is one for a COPY. The `settings` are SQL
        that is sent with BEGIN.
        """
        if self._connection is None:
            if self._key:
                await self._key.lock()
            self._timeout = bulk_seconds
            db = self._db
            lent = db.connection() if bulk_seconds is None else db.bulk(_BULK_WAIT_SECONDS)
            connection = await self._stack.enter_async_context(lent)
            self._connection = connection
            parts = ["BEGIN", LOCK_TIMEOUT if self._key else "", settings]
            await connection.execute("; ".join(filter(None, parts)))
        await self._claim(self._connection)
        return self._connection

    async def commit(self, response: Response) -> Response:
        """End the transaction; return the response that the client gets."""
        try:
            if self._connection and not self._dry_run:
                if self._key:
                    await self._key.store(self._db, self._connection, response)
                await self._end(self._connection)
        except BaseException as error:
            await self._release(error)
            raise
        if self._connection:
            await self._release(None)
        return _dry_run_response(response) if self._dry_run else response

    async def rollback(self, error: BaseException, *, is_called: bool = True) -> Response:
        """Roll back; return the response that is stored under the key, or raise the error again."""
        is_new = self._connection is not None
        await self._release(error)
        if isinstance(error, _Replayed):
            return error.response
        # A request that was done may not be possible any more, as with a password that it changed.
        is_refused = isinstance(error, Problem | HTTPException) and to_problem(error).status < 500
        is_refused &= is_called and not is_new and not isinstance(error, IdempotencyKeyInUse)
        if self._key and is_refused and (response := await self._key.lookup(self._db)):
            return response
        raise error

    async def _claim(self, connection: asyncpg.Connection) -> None:
        """Take the key, unless it is taken: a handler that passes over why not is told again."""
        if self._key and not self._is_claimed:
            if response := await self._key.claim(self._db, connection):
                raise _Replayed(response)
            self._is_claimed = True

    async def _end(self, connection: asyncpg.Connection) -> None:
        ended = await connection.execute("COMMIT", timeout=self._timeout)
        if ended != "COMMIT":  # a statement had failed, and the handler went on
            raise Problem

    async def _release(self, error: BaseException | None) -> None:
        """Return the connection, in no transaction."""
        connection, self._connection, self._is_claimed = self._connection, None, False
        try:
            if connection is not None and not isinstance(error, INVALIDATING_ERRORS):
                await self._roll_back(connection)
        finally:
            kind, traceback = (type(error), error.__traceback__) if error else (None, None)
            await self._stack.__aexit__(kind, error, traceback)
            if self._key:
                self._key.unlock()

    async def _roll_back(self, connection: asyncpg.Connection) -> None:
        """End a transaction that is not ended; a connection that cannot do that is given up."""
        with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
            if connection.is_in_transaction():
                await connection.execute("ROLLBACK")


class _Replayed(BaseException):
    """The request was done before, and this was its response: nothing for handlers to catch."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


def _dry_run_response(response: Response) -> Response:
    """Return the response of a write that is rolled back: of no address, and of no version."""
    status = response.status_code if response.status_code >= 400 else 200
    dry_run = Response(bytes(response.body), status)
    kept = [header for header in response.raw_headers if header[0] not in _LEFT_OUT]
    dry_run.raw_headers = [*dry_run.raw_headers, *kept]
    return dry_run


def begin_bulk(request: StrictRequest, *, dry_run: bool) -> Transaction:
    """Return the transaction of many rows in one body; raise BadRequest for a bad key."""
    given = read_key(request)
    key = IdempotencyKey(given, request) if given else None
    return Transaction(request.service.database, key, dry_run=dry_run)


def read_write_options(request: StrictRequest) -> tuple[IdempotencyKey | None, bool]:
    """Return the key of a request with a method that has one, and whether it is a dry run."""
    given = read_key(request) if request.method in KEYED_METHODS else None
    query_string, dry_run = request.scope["query_string"], False
    if query_string and not request.route.parses_query:
        dry_run = is_dry_run(read_options(query_string, request.route.query_parameters))
    return IdempotencyKey(given, request) if given else None, dry_run


@opening_dependency(**WRITE_PARAMETERS)
async def write(request: StrictRequest) -> Opened:
    """Return what runs the one statement of a write, once for each Idempotency-Key."""
    key, dry_run = read_write_options(request)
    single, transaction = SingleStatement(), None
    if key or dry_run:
        transaction = Transaction(request.service.database, key, dry_run=dry_run)
    single.executor = transaction or request.service.database
    return Opened(single, transaction)


@opening_dependency(**WRITE_PARAMETERS)
async def begin(request: StrictRequest) -> Opened:
    """Return a transaction: all that the handler writes is kept, with the response, or nothing."""
    key, dry_run = read_write_options(request)
    transaction = Transaction(request.service.database, key, dry_run=dry_run)
    return Opened(transaction, transaction)


WriteDep = Annotated[Executor, Depends(write)]
TransactionDep = Annotated[Executor, Depends(begin)]
