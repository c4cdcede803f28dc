"""COPY by asyncpg, beneath imports."""

import gc
from io import BytesIO

import asyncpg
import pytest
from sqlalchemy.engine import URL

from songbook.bulk.copy import copy_in
from songbook.db import Database, Use
from songbook.errors import ServiceUnavailable
from songbook.models import table_of
from tests.samples.resources.books import Book
from tests.support.databases import execute
from tests.support.waiting import wait_until

END = (
    "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name = 'songbook'"
)


class Breaking(BytesIO):
    """Rows that are read, in a thread, when PostgreSQL has ended the connection they are for."""

    def __init__(self, connection: asyncpg.Connection, url: URL) -> None:
        super().__init__(b"a\tb\n")
        self._connection, self._url = connection, url

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next rows."""
        execute(self._url, END)
        wait_until(self._connection.is_closed)
        return super().read(size)


async def test_a_connection_that_breaks_amid_an_import_is_told_to_the_client_alone(
    breakable_url: URL, caplog: pytest.LogCaptureFixture
) -> None:
    database = Database(breakable_url, pool_size=4, pool_timeout=30)
    columns = ["name", "author"]
    async with database.bulk(30, Use.WRITE) as connection:
        rows = Breaking(connection, breakable_url)
        with pytest.raises(ServiceUnavailable):
            await copy_in(database, connection, table_of(Book), columns, rows)
    await database.close()

    gc.collect()  # of a future that nobody awaits
    assert caplog.messages == []
