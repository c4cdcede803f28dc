"""The engine: how connections to PostgreSQL are made, kept and refused."""

from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DisconnectionError, MissingGreenlet
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.util.concurrency import in_greenlet

from app.problems import Unavailable

_SERVER_SETTINGS = {
    "application_name": "songbook",
    "timezone": "UTC",
    "lock_timeout": "2s",
    "statement_timeout": "5s",
    "idle_in_transaction_session_timeout": "10s",
}
_CONNECT_SECONDS = 5
_COMMAND_SECONDS = 6


def engine_of(url: URL | str, *, pool_size: int, pool_timeout: float, echo: bool) -> AsyncEngine:
    """Return an engine with at most `pool_size` connections, none of them made yet."""
    engine = create_async_engine(
        url,
        echo=echo,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=pool_timeout,
        pool_recycle=1800,
        pool_use_lifo=True,
        pool_reset_on_return=None,
        hide_parameters=True,
        connect_args={
            "timeout": _CONNECT_SECONDS,
            "command_timeout": _COMMAND_SECONDS,
            "server_settings": _SERVER_SETTINGS,
            **_cache_of(make_url(url)),
        },
    )
    event.listen(engine.sync_engine, "checkout", _refuse_closed)
    event.listen(engine.sync_engine, "do_connect", _connect)
    return engine


def _cache_of(url: URL) -> dict[str, int]:
    """Return how many prepared statements the driver keeps: as many as SQLAlchemy, by the URL.

    None, that is, where a pooler may give each transaction another connection.
    """
    size = url.query.get("prepared_statement_cache_size")
    return {} if size is None else {"statement_cache_size": int(str(size))}


def _refuse_closed(connection: Any, _record: object, _proxy: object) -> None:
    """Refuse a connection that broke while idle, or that came back inside a transaction."""
    driver = connection.driver_connection
    if driver.is_closed() or driver.is_in_transaction():
        raise DisconnectionError


def _connect(dialect: Any, _record: object, arguments: Any, options: dict[str, Any]) -> Any:
    """Connect; where nothing can wait, refuse to before a coroutine is made that none awaits."""
    if not in_greenlet():
        raise MissingGreenlet
    try:
        return dialect.connect(*arguments, **options)
    except OSError as error:
        raise Unavailable from error
