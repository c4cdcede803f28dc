"""Commits whose wait for a synchronous standby was cancelled."""

from typing import Any

import asyncpg


class CommitNotReplicated(TimeoutError):
    """A cancel request ended the wait of a commit for a synchronous standby.

    PostgreSQL reports success, with a warning that the commit may be lost in a failover.
    """


class Connection(asyncpg.Connection):  # type: ignore[misc]  # it has no types
    """A connection that notices such warnings, for `check_replication`."""

    is_unreplicated = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.add_log_listener(_notice)


def check_replication(connection: asyncpg.Connection) -> None:
    """Raise CommitNotReplicated if the last commit of a connection is not on its standby."""
    assert isinstance(connection, Connection)
    if connection.is_unreplicated:
        raise CommitNotReplicated


def _notice(connection: Connection, message: asyncpg.PostgresLogMessage) -> None:
    # the message is translated, and its SQLSTATE is that of every other warning
    if message.server_source_function == "SyncRepWaitForLSN":
        connection.is_unreplicated = True
