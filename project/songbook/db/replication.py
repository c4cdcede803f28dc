"""Commits whose wait for a synchronous standby was cancelled."""

import asyncpg


class CommitNotReplicated(TimeoutError):
    """A cancel request ended the wait of a commit for a synchronous standby.

    PostgreSQL reports success, with a warning that the commit may be lost in a failover.
    """


_unreplicated: set[asyncpg.Connection] = set()


def watch_replication(connection: asyncpg.Connection) -> None:
    """Notice such warnings of a new connection, for `check_replication`."""
    connection.add_log_listener(_notice)


def check_replication(connection: asyncpg.Connection) -> None:
    """Raise CommitNotReplicated if the last commit of a connection is not on its standby."""
    if _unreplicated and connection in _unreplicated:
        raise CommitNotReplicated


def forget_replication(connection: asyncpg.Connection) -> None:
    """Forget a closed connection."""
    _unreplicated.discard(connection)


def _notice(connection: asyncpg.Connection, message: asyncpg.PostgresLogMessage) -> None:
    # the message is translated, and its SQLSTATE is that of every other warning
    if message.server_source_function == "SyncRepWaitForLSN":
        _unreplicated.add(connection)
