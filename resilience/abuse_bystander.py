"""A stranger who asks for a song every 20 ms while others abuse the service.

A process of its own, which also watches the service's memory: the abusers' loop is too busy to tell
how long an answer took. Prints its findings as JSON.
"""

import asyncio
import json
import socket
import sys
from contextlib import suppress

from abuse_http import PATIENCE, Reply, connected, exchange, head
from abuse_service import Service

ADDRESS = "127.0.0.2"  # not the abusers': what is bounded for one address is not bounded for this
EVERY = 0.02  # seconds
SETTLE = 1.0  # seconds that the abusers have to begin
REQUEST = head("GET", "/songs/1")


class Bystander:
    """What was asked, and what came of it."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.latencies: list[float] = []
        self.failures: dict[str, int] = {}
        self.peak = service.memory()
        self._kept: list[socket.socket] = []

    async def run(self, seconds: float) -> None:
        """Ask in turn on new and on kept connections, however long answers take."""
        loop, tasks = asyncio.get_running_loop(), set()
        begun = loop.time()
        while (now := loop.time()) < begun + seconds:
            self.peak = max(self.peak, self.service.memory())
            if now > begun + min(SETTLE, seconds / 4):
                tasks.add(asyncio.create_task(self.ask(is_kept=len(tasks) % 2 == 0)))
            await asyncio.sleep(EVERY)
        await asyncio.gather(*tasks)

    async def ask(self, *, is_kept: bool) -> None:
        """Ask once; note the seconds, or why there was no song."""
        loop = asyncio.get_running_loop()
        begun, result = loop.time(), "no answer"
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(PATIENCE):
                reply = await (self.on_kept() if is_kept else self.on_new())
                result = str(reply.status or "closed")
        if result == "200":
            self.latencies.append(loop.time() - begun)
        else:
            self.failures[result] = self.failures.get(result, 0) + 1

    async def on_new(self) -> Reply:
        """Ask on a connection of its own."""
        async with connected(self.service.port, ADDRESS) as connection:
            return await exchange(connection, REQUEST)

    async def on_kept(self) -> Reply:
        """Ask on a kept connection; if it was closed meanwhile, on a new one (RFC 9112, 9.3.1)."""
        reply = Reply()
        while self._kept and not reply.status:
            reply = await self.keep(self._kept.pop())
        if not reply.status:
            connection = socket.socket()
            connection.setblocking(False)
            connection.bind((ADDRESS, 0))
            loop = asyncio.get_running_loop()
            await loop.sock_connect(connection, ("127.0.0.1", self.service.port))
            reply = await self.keep(connection)
        return reply

    async def keep(self, connection: socket.socket) -> Reply:
        """Ask on a connection; keep it if that may be."""
        reply = Reply()
        try:
            reply = await exchange(connection, REQUEST)
        finally:
            if reply.status and reply.headers.get("connection") != "close":
                self._kept.append(connection)
            else:
                connection.close()
        return reply


def main() -> None:
    """Ask, and print."""
    port, pid, seconds = sys.argv[1:]
    bystander = Bystander(Service(int(pid), int(port), ""))
    asyncio.run(bystander.run(float(seconds)))
    found = {name: getattr(bystander, name) for name in ("latencies", "failures", "peak")}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
