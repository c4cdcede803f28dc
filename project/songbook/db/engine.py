"""The engine: how connections to PostgreSQL are made and checked."""

import time
from datetime import UTC, date, datetime
from typing import Any

import asyncpg
from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DisconnectionError, MissingGreenlet
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.util.concurrency import in_greenlet

from songbook.db.replication import Connection
from songbook.errors import ServiceUnavailable

TIMEOUTS = {
    "lock_timeout": "1200ms",  # PostgreSQL looks for deadlocks, which are retried, after a second
    "statement_timeout": "5s",
    "idle_in_transaction_session_timeout": "10s",
    "client_connection_check_interval": "1s",
}
"""Parameters of a session that PgBouncer ignores at most."""

_SERVER_SETTINGS = {
    "application_name": "songbook",
    "timezone": "UTC",
    "datestyle": "ISO",
    **TIMEOUTS,
}
_CONNECT_SECONDS = 5
_COMMAND_SECONDS = 6
_MAX_LIFETIME_SECONDS = 1800
_EXPIRES_AT = "songbook_expires_at"


def create_engine(
    url: URL | str, *, pool_size: int, pool_timeout: float, echo: bool
) -> AsyncEngine:
    """Return an engine with at most `pool_size` connections; it connects lazily."""
    engine = create_async_engine(
        url,
        echo=echo,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=pool_timeout,
        pool_recycle=_MAX_LIFETIME_SECONDS,
        pool_use_lifo=True,
        pool_reset_on_return=None,
        hide_parameters=True,
        connect_args={
            "connection_class": Connection,
            "timeout": _CONNECT_SECONDS,
            "command_timeout": _COMMAND_SECONDS,
            "server_settings": _SERVER_SETTINGS,
            **_statement_cache(make_url(url)),
        },
    )
    event.listen(engine.sync_engine, "checkout", _check_on_checkout)
    event.listen(engine.sync_engine, "do_connect", _connect)
    event.listen(engine.sync_engine, "connect", _set_up)
    return engine


def _statement_cache(url: URL) -> dict[str, int]:
    """Return asyncpg's `statement_cache_size` from the URL; PgBouncer may need 0."""
    size = url.query.get("prepared_statement_cache_size")
    return {} if size is None else {"statement_cache_size": int(str(size))}


def is_reusable(connection: PoolProxiedConnection) -> bool:
    """Return whether an acquired connection can be handed over without the checks of the pool."""
    is_valid = connection.is_valid and is_usable(connection.driver_connection)
    return is_valid and time.monotonic() < connection.info[_EXPIRES_AT]


def _set_up(connection: Any, record: Any) -> None:
    """Note when a new connection expires, and give it our codecs."""
    record.info[_EXPIRES_AT] = time.monotonic() + _MAX_LIFETIME_SECONDS
    connection.run_async(_set_codecs)


async def _set_codecs(connection: asyncpg.Connection) -> None:
    """Send and receive dates and times as text.

    asyncpg's own codecs would store the first and the last of them as infinity.
    """
    codecs = {"date": (date.isoformat, _to_date), "timestamptz": (datetime.isoformat, _to_datetime)}
    for name, (encoder, decoder) in codecs.items():
        await connection.set_type_codec(
            name, schema="pg_catalog", encoder=encoder, decoder=decoder, format="text"
        )


def _to_date(text: str) -> date:
    infinite = {"infinity": date.max, "-infinity": date.min}
    return infinite.get(text) or date.fromisoformat(text)


def _to_datetime(text: str) -> datetime:
    infinite = {"infinity": datetime.max, "-infinity": datetime.min}  # noqa: DTZ901
    return (infinite.get(text) or datetime.fromisoformat(text)).replace(tzinfo=UTC)


def is_usable(connection: Any) -> bool:
    """Return whether a connection is neither closed nor inside a transaction."""
    return not (connection.is_closed() or connection.is_in_transaction())


def _check_on_checkout(connection: Any, _record: object, _proxy: object) -> None:
    """Replace a connection that was closed while idle or returned inside a transaction."""
    if not is_usable(connection.driver_connection):
        raise DisconnectionError


def _connect(dialect: Any, _record: object, arguments: Any, options: dict[str, Any]) -> Any:
    """Connect. Outside a greenlet raise MissingGreenlet before any coroutine is created."""
    if not in_greenlet():
        raise MissingGreenlet
    try:
        return dialect.connect(*arguments, **options)
    except OSError as error:
        raise ServiceUnavailable from error
