"""A proxy between the service and PostgreSQL that falls silent, or cuts after a statement."""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from cluster import Cluster

COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"
"""A simple query of one word, as PostgreSQL's protocol has it."""
BIND = b"B"
"""The first byte of a prepared statement that is executed: Bind, Execute, Sync."""


class Proxy:
    """Passes on what the service and PostgreSQL send.

    Of COMMITs it cuts each `cut_commits`th, of other statements each `cut_statements`th: the
    statement has been passed on, its answer never is. 0 cuts none.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._server = cluster.socket
        self._passes = asyncio.Event()
        self._passes.set()
        self._commits = self._statements = 0
        self.cut_commits = self.cut_statements = 0
        self.cuts = 0
        """COMMITs that were cut."""

    def fall_silent(self) -> None:
        """Accept connections, and pass nothing on."""
        self._passes.clear()

    def speak(self) -> None:
        """Pass on again, also what was held back."""
        self._passes.set()

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Serve one connection until a side closes it, or until it is cut."""
        with suppress(OSError):
            answers, questions = await asyncio.open_unix_connection(self._server)
            cut = asyncio.Event()
            passing = [
                asyncio.create_task(self._pass_questions(reader, questions, cut)),
                asyncio.create_task(self._pass_answers(answers, writer, cut)),
            ]
            await asyncio.wait(passing, return_when=asyncio.FIRST_COMPLETED)
            for task in passing:
                task.cancel()
            await asyncio.gather(*passing, return_exceptions=True)
            questions.close()
        writer.close()

    async def _pass_questions(
        self, reader: StreamReader, writer: StreamWriter, cut: asyncio.Event
    ) -> None:
        while piece := await reader.read(65536):
            await self._passes.wait()
            if self._is_cut(piece):
                cut.set()
            writer.write(piece)
            await writer.drain()
            if cut.is_set():
                return

    async def _pass_answers(
        self, reader: StreamReader, writer: StreamWriter, cut: asyncio.Event
    ) -> None:
        while piece := await reader.read(65536):
            await self._passes.wait()
            if cut.is_set():
                return
            writer.write(piece)
            await writer.drain()

    def _is_cut(self, piece: bytes) -> bool:
        if piece == COMMIT:
            self._commits += 1
            is_cut = bool(self.cut_commits) and self._commits % self.cut_commits == 0
            self.cuts += is_cut
            return is_cut
        self._statements += piece.startswith(BIND)
        turn = bool(self.cut_statements) and self._statements % self.cut_statements == 0
        return turn and piece.startswith(BIND)


@asynccontextmanager
async def proxied(cluster: Cluster) -> AsyncIterator[Proxy]:
    """Put a proxy behind the door of a cluster; connections that exist are not in its way."""
    proxy = Proxy(cluster)
    socket = cluster.door / "proxy"
    listener = await asyncio.start_unix_server(proxy.serve, socket)
    cluster.open_door(socket)
    try:
        yield proxy
    finally:
        proxy.speak()
        cluster.open_door()
        listener.close()
        socket.unlink(missing_ok=True)
