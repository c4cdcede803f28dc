"""Faults: a PostgreSQL and a service that can be killed, a connection that is cut, and a history.

What clients did and were told is recorded and compared with what is stored, as Jepsen does.
"""

import asyncio
import os
import signal
from asyncio import StreamReader, StreamWriter
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from sqlalchemy.engine import URL, make_url

from songbook.db import embedded
from tests.support.databases import execute, has_server, spelled
from tests.support.processes import ended_at_last, free_port
from tests.support.services import SAMPLES
from tests.support.waiting import PATIENCE, wait_until

SOCKET = ".s.PGSQL.5432"
COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"
"""What a driver sends, as PostgreSQL's protocol has it: a simple query of one word."""

SESSION_COMMIT = b"Q\x00\x00\x00\x0cCOMMIT;\x00"
"""The same of asyncpg's own transactions, which SQLAlchemy uses."""


class Cluster:
    """An embedded PostgreSQL of a test's own, as durable as it is by default.

    Services reach it through a door of their own, which may lead to a proxy instead.
    """

    def __init__(self, place: Path) -> None:
        self.folder = place / "postgres"
        self.door = place / "door"
        self.door.mkdir()
        self.start()
        self.open_door()

    def start(self) -> None:
        """Start it, or start it again."""
        self.url = make_url(embedded.attach(self.folder, durable=True))

    def stop(self) -> None:
        """Stop it as an operator does."""
        embedded.detach(self.folder)

    def kill(self) -> None:
        """Kill all of its processes at once, as a machine does that loses its power."""
        pid = int((self.folder / "cluster" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGSTOP)  # so that it has no more children from here on
        for process in [*children_of(pid), pid]:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        wait_until(lambda: not has_server(self.folder))
        embedded.detach(self.folder)

    def kill_and_start(self) -> None:
        """Kill it and start it again; it recovers what was committed."""
        self.kill()
        self.start()

    def open_door(self, socket: Path | None = None) -> None:
        """Let the door lead to the socket of the server, or to another one."""
        new = self.door / "new"
        new.symlink_to(socket or Path(str(self.url.query["host"])) / SOCKET)
        new.rename(self.door / SOCKET)

    @property
    def door_url(self) -> URL:
        """Return the URL of the database behind the door."""
        return self.url.update_query_dict({"host": str(self.door)})

    def end_backends(self) -> None:
        """End every connection of a service, as a failover does."""
        execute(
            self.url,
            "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
            " WHERE application_name = 'songbook'",
        )


def children_of(pid: int) -> list[int]:
    """Return the children of a process."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


class Phoenix:
    """A service of a process of its own, which can be killed and is then at the same address.

    Its log has no more than what is grave.
    """

    def __init__(self, url: URL) -> None:
        self._given = {"DATABASE_URL": spelled(url), "LOG_LEVEL": "error", "PORT": str(free_port())}
        self._given["POOL_TIMEOUT"] = "20"  # seconds, as a machine may be busy
        self.start()

    def start(self) -> None:
        """Start it, or start it again."""
        self._service = SAMPLES.started(**self._given)
        self.address = self._service.said()
        self._service.answers(self.address)

    def kill(self) -> None:
        """Kill it, as a machine does that has no more memory."""
        self.end(signal.SIGKILL)

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it; nothing grave may have happened."""
        with ended_at_last(self._service):
            told = self._service.end(number).told
        assert told == ""


class Proxy:
    """Passes on what services and PostgreSQL say to each other, but for the answers to some.

    Every connection that says something with `cuts_after`, such as COMMIT, is cut: one of two when
    the answer is there, the other one before.
    """

    def __init__(self, server: Path, *, cuts_after: bytes = b"") -> None:
        self._server = server
        self.cuts_after = cuts_after
        self._services: list[StreamWriter] = []
        self._serving: set[asyncio.Task[None]] = set()
        self.cuts = 0

    def say(self, message: bytes) -> None:
        """Say something to the services in the place of PostgreSQL."""
        for service in self._services:
            if not service.is_closing():
                service.write(message)

    async def close(self) -> None:
        """Cut the connections that are left, such as those of a service that checks its readiness.

        Else nobody would pass anything on after the test, and a service that ends would wait for an
        answer until a timeout, which SQLAlchemy's pool logs.
        """
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Serve one connection until one side closes it, or until it is cut."""
        task = asyncio.current_task()
        assert task
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        answers, questions = await asyncio.open_unix_connection(self._server)
        self._services.append(writer)
        committing = asyncio.Event()
        passing = [
            asyncio.create_task(self._ask(reader, questions, committing)),
            asyncio.create_task(self._answer(answers, writer, committing)),
        ]
        try:
            await asyncio.wait(passing, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in passing:
                task.cancel()
            await asyncio.gather(*passing, return_exceptions=True)
            for side in (writer, questions):
                side.close()

    async def _ask(
        self, reader: StreamReader, writer: StreamWriter, committing: asyncio.Event
    ) -> None:
        while piece := await reader.read(65536):
            # a driver waits for the answer before it says more
            if self.cuts_after and self.cuts_after in piece:
                self.cuts += 1
                committing.set()
            writer.write(piece)
            await writer.drain()
            if committing.is_set() and self.cuts % 2:
                return

    async def _answer(
        self, reader: StreamReader, writer: StreamWriter, committing: asyncio.Event
    ) -> None:
        while (piece := await reader.read(65536)) and not committing.is_set():
            writer.write(piece)
            await writer.drain()


@asynccontextmanager
async def between(cluster: Cluster, *, cuts_after: bytes = b"") -> AsyncIterator[Proxy]:
    """Put a proxy behind the door of a cluster until the block ends."""
    proxy = Proxy(Path(str(cluster.url.query["host"])) / SOCKET, cuts_after=cuts_after)
    socket = cluster.door / "proxy"
    listener = await asyncio.start_unix_server(proxy.serve, socket)
    cluster.open_door(socket)
    try:
        yield proxy
    finally:
        cluster.open_door()
        listener.close()
        await proxy.close()


FAREWELL = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0"
FAREWELL = b"E" + (len(FAREWELL) + 4).to_bytes(4, "big") + FAREWELL
"""The last thing that PostgreSQL says before it closes a connection that an administrator ends."""


class Verdict(NamedTuple):
    """What a history and the rows that are stored do not agree on, by the names of books."""

    lost: list[str]
    duplicate: list[str]
    phantom: list[str]
    wrong_id: list[str]


class History:
    """What clients asked to be stored under which names, and what they were told of it."""

    def __init__(self) -> None:
        self.asked: set[str] = set()
        self.told: dict[str, int | None] = {}
        """Of what is stored, as they were told: the id, None for a row of an import."""
        self._grown = asyncio.Event()

    def new(self, number: int = 1) -> list[str]:
        """Return so many names that nobody has asked for yet."""
        first = len(self.asked)
        names = [f"book-{nth}" for nth in range(first, first + number)]
        self.asked.update(names)
        return names

    def tell(self, names: list[str], id: int | None = None) -> None:
        """Record that a client was told that these are stored."""
        self.told.update(dict.fromkeys(names, id))
        self._grown.set()

    async def growth(self, number: int) -> None:
        """Return when clients were told of so many more."""
        goal = len(self.told) + number
        async with asyncio.timeout(PATIENCE):
            while len(self.told) < goal:
                self._grown.clear()
                await self._grown.wait()

    def verdict(self, rows: list[tuple[int, str]]) -> Verdict:
        """Compare with the rows that are stored: their ids and names."""
        numbers, ids = Counter(name for _, name in rows), {name: number for number, name in rows}
        return Verdict(
            lost=[name for name in self.told if name not in numbers],
            duplicate=[name for name, times in numbers.items() if times > 1],
            phantom=[name for name in numbers if name not in self.asked],
            wrong_id=[
                name
                for name, number in self.told.items()
                if number is not None and ids.get(name, number) != number
            ],
        )
