"""A round-robin load balancer that asks for readiness, keeps connections and retries nothing.

What it cannot pass on is answered with 502, and counted by its cause.
"""

import asyncio
import re
from asyncio import StreamReader, StreamWriter
from collections import Counter
from contextlib import suppress
from itertools import chain, count

from faults_service import status_of

PROBE_SECONDS = 0.1
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
Streams = tuple[StreamReader, StreamWriter]


class Failure(Exception):
    """A request could not be passed on, or had no answer; its message is the cause."""


class Balancer:
    """Passes requests to servers in turn. Without a `probe` it takes all for ready."""

    def __init__(self, ports: list[int], probe: str | None = "/readyz") -> None:
        self._ports = ports
        self._probe = probe
        self._idle: dict[int, list[Streams]] = {port: [] for port in ports}
        self._turns = count()
        self._tasks: set[asyncio.Task[None]] = set()
        self.ready = set() if probe else set(ports)
        self.failures: Counter[str] = Counter()
        self.passed = 0

    async def start(self) -> int:
        """Listen; return the port."""
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        if self._probe:
            for port in self._ports:
                self._keep(asyncio.create_task(self._ask(port, self._probe)))
        return int(self._listener.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop listening, and close all connections."""
        self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for _, writer in chain.from_iterable(self._idle.values()):
            writer.close()

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(self, port: int, path: str) -> None:
        while True:
            is_ready = await status_of(port, path) == 200
            (self.ready.add if is_ready else self.ready.discard)(port)
            await asyncio.sleep(PROBE_SECONDS)

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._keep(task)
        with suppress(OSError, EOFError, asyncio.CancelledError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(length_of(head))
                writer.write(await self._answer(head + body))
        writer.close()

    async def _answer(self, request: bytes) -> bytes:
        try:
            answer = await self._pass_on(request)
        except Failure as failure:
            self.failures[str(failure)] += 1
            return f"HTTP/1.1 502 {failure}\r\nContent-Length: 0\r\n\r\n".encode()
        self.passed += 1
        return answer

    async def _pass_on(self, request: bytes) -> bytes:
        """Return the answer of a server that is ready. Raises Failure."""
        ports = [port for port in self._ports if port in self.ready]
        if not ports:
            raise Failure("none ready")
        port = ports[next(self._turns) % len(ports)]
        reader, writer, is_kept = await self._connect(port)
        head = b""
        try:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(0 if head[9:12] == b"304" else length_of(head))
        except (OSError, EOFError):
            writer.close()
            raise Failure("cut" if head or not is_kept else "closed when kept") from None
        except asyncio.CancelledError:
            writer.close()
            raise
        if CLOSE.search(head):
            writer.close()
        else:
            self._idle[port].append((reader, writer))
        # the client's connection is another one
        return CLOSE.sub(b"", head) + body

    async def _connect(self, port: int) -> tuple[StreamReader, StreamWriter, bool]:
        """Return a connection, and whether it was kept. Raises Failure."""
        while self._idle[port]:
            reader, writer = self._idle[port].pop()
            if not (reader.at_eof() or writer.is_closing()):
                return reader, writer, True
            writer.close()
        try:
            return *await asyncio.open_connection("127.0.0.1", port), False
        except OSError:
            raise Failure("refused") from None


def length_of(head: bytes) -> int:
    """Return the length of the body behind a head."""
    found = LENGTH.search(head)
    return int(found[1]) if found else 0
