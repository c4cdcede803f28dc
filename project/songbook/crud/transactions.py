"""Writes: a single statement, or a transaction.

Handlers use `WriteDep`, `TransactionDep` or `SessionDep`; keys and dry runs need no code there.
"""

from contextlib import AsyncExitStack, suppress
from typing import Annotated, Any, NamedTuple

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
    Use,
    check_replication,
    count_retry,
    is_outcome_unknown,
    pause,
)
from songbook.errors import IdempotencyKeyInUse, OutcomeUnknown, Problem, to_problem
from songbook.http import (
    DRY_RUN,
    KEYED_METHODS,
    Opened,
    StrictRequest,
    is_dry_run,
    opening_dependency,
    read_options,
)

_DROPPED_HEADERS = {b"location", b"etag", b"content-length"}
WRITE_PARAMETERS: dict[str, Any] = {
    "parameters": (DRY_RUN,),
    "error_statuses": (422, 503),
    "key_parameter": IDEMPOTENCY_KEY,
}
"""The parameters and error statuses of dependencies that write."""

LOCK_TIMEOUT = f"SET LOCAL lock_timeout = '{WAIT_SECONDS}s'"


class Transaction:
    """The transaction of a request, from its first statement until its response.

    It is committed together with the response under the key, or rolled back for a dry run. The
    client can repeat a request with a key or an idempotent method: then it does not matter whether
    a COMMIT without an answer succeeded, and otherwise OutcomeUnknown is raised.
    """

    def __init__(
        self,
        db: Database,
        key: IdempotencyKey | None = None,
        *,
        dry_run: bool = False,
        is_idempotent: bool = False,
    ) -> None:
        self._dry_run = dry_run
        self._is_repeatable = is_idempotent or key is not None
        self._db = db
        self._key = None if dry_run else key
        self._connection: asyncpg.Connection | None = None
        self._is_claimed = False
        self._stack = AsyncExitStack()
        self._timeout: float | None = None

    async def fetch(self, query: BoundStatement) -> asyncpg.Record | None:
        """Run a statement in the transaction; return its row.

        The first is retried after a deadlock, a serialization failure, and on a connection that
        PostgreSQL was closing. Raises ServiceUnavailable without a connection, IdempotencyKeyInUse,
        IdempotencyKeyReused, and asyncpg's errors.
        """
        if query is NO_ROW:
            return None
        for attempt in range(1, MAX_ATTEMPTS):
            is_first = self._connection is None
            try:
                return await self._db.fetch_on(await self.begin(), query)
            except (*RETRYABLE_ERRORS, asyncpg.InternalClientError) as error:
                if not is_first:
                    raise
                count_retry(error)
                await self._release(error)
            await pause(attempt)
        return await self._db.fetch_on(await self.begin(), query)

    async def begin(
        self, settings: str = "", *, bulk_seconds: float | None = None, client: str = ""
    ) -> asyncpg.Connection:
        """Return the connection of the transaction, begun with the SQL of the `settings`.

        With `bulk_seconds`, the timeout of its COMMIT, it is a connection for the COPY of a client.
        """
        if self._connection is None:
            if self._key:
                await self._key.lock()
            self._timeout = bulk_seconds
            db = self._db
            acquired = db.connection()
            if bulk_seconds is not None:
                acquired = db.bulk(db.pool_timeout, Use.WRITE, client)
            connection = await self._stack.enter_async_context(acquired)
            self._connection = connection
            parts = ["BEGIN", LOCK_TIMEOUT if self._key else "", settings]
            sql = "; ".join(filter(None, parts))
            await db.observed(sql, connection.execute(sql))
        await self._claim(self._connection)
        return self._connection

    async def commit(self, response: Response) -> Response:
        """Commit, or roll back a dry run. Returns the response to send.

        Raises OutcomeUnknown, and asyncpg's errors.
        """
        try:
            if self._connection and not self._dry_run:
                if self._key:
                    await self._key.store(self._db, self._connection, response)
                await self._end(self._connection)
        except BaseException as error:
            await self._release(error)
            if not self._is_repeatable and is_outcome_unknown(error):
                raise OutcomeUnknown from error
            raise
        if self._connection:
            await self._release(None)
        return _dry_run_response(response) if self._dry_run else response

    async def rollback(self, error: BaseException, *, is_called: bool = True) -> Response:
        """Roll back. Returns the response that is stored under the key, or raises the error."""
        is_begun = self._connection is not None
        await self._release(error)
        if isinstance(error, Replayed):
            return error.response
        # The error may be a result of the first request, such as a wrong password that it changed.
        may_be_retry = isinstance(error, Problem | HTTPException) and to_problem(error).status < 500
        may_be_retry &= is_called and not is_begun and not isinstance(error, IdempotencyKeyInUse)
        if self._key and may_be_retry and (response := await self._key.lookup(self._db)):
            return response
        raise error

    async def _claim(self, connection: asyncpg.Connection) -> None:
        """Claim the key; again, if the handler ignored the error of the first time."""
        if self._key and not self._is_claimed:
            if response := await self._key.claim(self._db, connection):
                raise Replayed(response)
            self._is_claimed = True

    async def _end(self, connection: asyncpg.Connection) -> None:
        committing = connection.execute("COMMIT", timeout=self._timeout)
        tag = await self._db.observed("COMMIT", committing)
        check_replication(connection)
        if tag != "COMMIT":  # the handler ignored the error of a statement
            raise Problem

    async def _release(self, error: BaseException | None) -> None:
        """Release the connection and the key."""
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
        """Roll back an open transaction; errors of a broken connection are ignored."""
        with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
            if connection.is_in_transaction():
                await self._db.observed("ROLLBACK", connection.execute("ROLLBACK"))


class _Unrepeatable:
    """Runs a statement that is committed by itself and that the client cannot repeat safely."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def fetch(self, statement: BoundStatement) -> asyncpg.Record | None:
        """Run and commit the statement; return its row.

        Raises OutcomeUnknown if it may be committed, ServiceUnavailable, and asyncpg's errors.
        """
        try:
            return await self._db.fetch(statement)
        except Exception as error:
            if not statement.coalesce and is_outcome_unknown(error):
                raise OutcomeUnknown from error
            raise


class Replayed(BaseException):
    """The stored response of a retried request; no Exception, so that handlers do not catch it."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


def _dry_run_response(response: Response) -> Response:
    """Return the response of a dry run without Location and ETag: 200, or the error that it is."""
    status = response.status_code if response.status_code >= 400 else 200
    dry_run = Response(bytes(response.body), status)
    headers = [header for header in response.raw_headers if header[0] not in _DROPPED_HEADERS]
    dry_run.raw_headers = [*dry_run.raw_headers, *headers]
    return dry_run


def begin_bulk(request: StrictRequest, *, dry_run: bool) -> Transaction:
    """Return the transaction of a bulk body. Raises BadRequest for a malformed key."""
    return Transaction(request.database, read_key(request), dry_run=dry_run)


class WriteOptions(NamedTuple):
    """The key of a POST or PATCH, and what else a transaction has to know of its request."""

    key: IdempotencyKey | None
    dry_run: bool
    is_idempotent: bool


def read_write_options(request: StrictRequest) -> WriteOptions:
    """Return the options of a write. Raises BadRequest and UnprocessableContent."""
    is_idempotent = request.method not in KEYED_METHODS
    key = None if is_idempotent else read_key(request)
    query_string, dry_run = request.scope["query_string"], False
    if query_string and not request.route.parses_query:
        route = request.route
        dry_run = is_dry_run(read_options(query_string, route.query_parameters, route.defaults))
    return WriteOptions(key, dry_run, is_idempotent)


@opening_dependency(**WRITE_PARAMETERS)
async def write(request: StrictRequest) -> Opened:
    """Return the executor of one statement, run once for each Idempotency-Key."""
    key, dry_run, is_idempotent = read_write_options(request)
    db, single, transaction = request.database, SingleStatement(), None
    if key or dry_run:
        single.executor = transaction = Transaction(db, key, dry_run=dry_run)
    else:
        single.executor = db if is_idempotent else _Unrepeatable(db)
    return Opened(single, transaction)


@opening_dependency(**WRITE_PARAMETERS)
async def begin(request: StrictRequest) -> Opened:
    """Return a transaction, committed together with the response."""
    transaction = Transaction(request.database, **read_write_options(request)._asdict())
    return Opened(transaction, transaction)


WriteDep = Annotated[Executor, Depends(write)]
TransactionDep = Annotated[Executor, Depends(begin)]
