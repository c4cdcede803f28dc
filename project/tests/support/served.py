"""A process that serves a database of its own, and what the system knows of it."""

import re
import secrets
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from tests.support.databases import create_database, execute, spelled
from tests.support.processes import Service
from tests.support.raw_http import Served
from tests.support.services import SAMPLES
from tests.support.waiting import PATIENCE

POOL_SIZE = 8


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc tells it")


class Process(Served):
    """A process that serves a database of its own, and what the system knows of it."""

    def __init__(self, service: Service, url: URL) -> None:
        super().__init__(int(service.address.rpartition(":")[2]))
        self.address = service.address
        self.url = url
        self.pid = service.process.pid

    def connect(self) -> socket.socket:
        """Open a connection; a machine may be busy."""
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE)

    def memory(self) -> int:
        """Return how many KB of memory it has."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0])

    def spools(self) -> list[int]:
        """Return the sizes of the nameless files that it has open."""
        found = []
        for descriptor in Path(f"/proc/{self.pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                if descriptor.readlink().name.endswith("(deleted)"):
                    found.append(descriptor.stat().st_size)
        return found

    def busy(self) -> list[str]:
        """Return what its connections to the database are about, but those that are idle."""
        query = (
            "SELECT state || ': ' || query FROM pg_stat_activity WHERE state <> 'idle'"
            " AND datname = current_database() AND application_name = 'songbook'"
        )
        return [row for (row,) in execute(self.url, query)]

    def books(self) -> int:
        """Return how many books are stored."""
        [(number,)] = execute(self.url, "SELECT count(*) FROM book")
        return int(number)


@contextmanager
def process(server: URL, template: URL, **environment: str) -> Iterator[Process]:
    """Serve a database whose books have no index, in a process of its own."""
    url = server.set(database=f"bulk_{secrets.token_hex(6)}")
    create_database(server, url.database, template.database)
    execute(url, "DROP INDEX ix_book_words", "DROP INDEX ix_book_year")
    given = {"POOL_SIZE": str(POOL_SIZE), "POOL_TIMEOUT": "0.5", **environment}
    with SAMPLES.serving(DATABASE_URL=spelled(url), **given) as service:
        yield Process(service, url)
        end = service.end(signal.SIGTERM)
    execute(server, f'DROP DATABASE "{url.database}" WITH (FORCE)')
    assert "Traceback" not in end.told, end.told
