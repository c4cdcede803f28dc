"""SQLAlchemy sessions in the transaction of a request."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import asyncpg
from fastapi import Depends
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.util import await_only
from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.responses import Response

from songbook.crud.idempotency import IdempotencyKey
from songbook.crud.session_owners import OwnedSession
from songbook.crud.transactions import (
    LOCK_TIMEOUT,
    WRITE_PARAMETERS,
    Transaction,
    read_write_options,
)
from songbook.db import Database, check_replication
from songbook.http import Opened, StrictRequest, opening_dependency


class _Session(OwnedSession):
    """A session that connects with its first statement, inside an outer transaction."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]], **options: Any) -> None:
        super().__init__(**options, join_transaction_mode="create_savepoint")
        self._connect = connect

    def get_bind(self, *_arguments: Any, **_options: Any) -> Connection:
        """Return the connection."""
        return await_only(self._connect())


class SessionTransaction(Transaction):
    """The transaction of a session, whose own `commit()` releases a savepoint."""

    def __init__(
        self, db: Database, key: IdempotencyKey | None, *, dry_run: bool, is_idempotent: bool
    ) -> None:
        super().__init__(db, key, dry_run=dry_run, is_idempotent=is_idempotent)
        self._sqlalchemy: AsyncConnection | None = None
        self.session = AsyncSession(
            sync_session_class=_Session,
            connect=self._connect,
            principal=db.principal,
            expire_on_commit=False,
        )

    async def commit(self, response: Response) -> Response:
        """Flush and commit. Returns the response to send."""
        try:
            await self.session.commit()
            await self.session.close()
        except BaseException as error:  # noqa: BLE001 - `rollback` raises it again
            return await self.rollback(error)  # the flush may be the first to claim the key
        return await super().commit(response)

    async def _connect(self) -> Connection:
        if self._sqlalchemy is None:
            if self._key:
                await self._key.lock()
            connecting = self._db.sqlalchemy_connection()
            self._sqlalchemy = await self._stack.enter_async_context(connecting)
            self._connection = (await self._sqlalchemy.get_raw_connection()).driver_connection
            await self._sqlalchemy.begin()  # else the session would begin and commit its own
            if self._key:
                await self._sqlalchemy.exec_driver_sql(LOCK_TIMEOUT)  # after BEGIN
        assert self._connection, "the connection is open"
        await self._claim(self._connection)
        assert self._sqlalchemy.sync_connection, "the connection is open"
        return self._sqlalchemy.sync_connection

    async def _end(self, connection: asyncpg.Connection) -> None:
        assert self._sqlalchemy, "there is a connection"
        await self._sqlalchemy.commit()
        check_replication(connection)

    async def _roll_back(self, connection: asyncpg.Connection) -> None:  # noqa: ARG002
        assert self._sqlalchemy, "there is a connection"
        await self.session.close()
        await self._sqlalchemy.rollback()


@opening_dependency(**WRITE_PARAMETERS)
async def session(request: StrictRequest) -> Opened:
    """Return a session, whose writes are committed together with the response."""
    options = read_write_options(request)._asdict()
    transaction = SessionTransaction(request.database, **options)
    return Opened(transaction.session, transaction)


SessionDep = Annotated[AsyncSession, Depends(session)]
