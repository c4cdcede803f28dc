"""Attacks: what clients do for some seconds, all from one address, while a bystander asks."""

import asyncio
import select
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import NamedTuple

from abuse_bounds import Bounds
from abuse_http import CHUNK, connected, exchange, read_reply, received, send
from abuse_service import Service

ADDRESS = "127.0.0.3"
MEGABYTE = 1_000_000
PATIENT = 18  # seconds of an attack, at least, to see what the service does by and by
POOL_SIZE = 20  # the default of the setting


class Target:
    """The service that is attacked, and what the attack achieved."""

    def __init__(self, service: Service, seconds: float, bounds: Bounds) -> None:
        self.service = service
        self.seconds = seconds
        self.bounds = bounds
        self.achieved: Counter[str] = Counter()
        self.broken: list[str] = []

    def count(self, name: str, number: float = 1) -> None:
        """Add to what was achieved."""
        self.achieved[name] += int(number)

    def most(self, name: str, number: float) -> None:
        """Note the largest of some figures."""
        self.achieved[name] = max(self.achieved[name], int(number))

    def check(self, *, holds: bool, otherwise: str) -> None:
        """Note that a promise is broken unless it holds."""
        if not holds:
            self.broken.append(otherwise)

    async def ask(self, request: bytes, patience: float = 10) -> int:
        """Send a request on a new connection, count its status, and return it."""
        status = 0
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(patience), connected(self.service.port, ADDRESS) as each:
                status = (await exchange(each, request)).status
        self.count(str(status or "closed"))
        return status

    async def repeat(self, *requests: bytes) -> None:
        """Send requests in turn, without end."""
        while True:
            for request in requests:
                if not await self.ask(request):
                    await asyncio.sleep(0.05)

    async def flood(self, start: bytes, piece: bytes) -> None:
        """Send something that does not end, on one connection after the other.

        Notes how many bytes a connection took, and the status that it was closed with.
        """
        while True:
            taken = 0
            with suppress(OSError):
                async with connected(self.service.port, ADDRESS, CHUNK) as connection:
                    reading = asyncio.ensure_future(read_reply(connection))
                    try:
                        await send(connection, start)
                        while taken < 200 * MEGABYTE:
                            await send(connection, piece)
                            taken += len(piece)
                            self.most("MB on a connection", taken / MEGABYTE)
                    finally:
                        self.count("MB sent", taken / MEGABYTE)
                        self.count("connections cut")
                        with suppress(TimeoutError, OSError):
                            reply = await asyncio.wait_for(reading, 0.1)
                            self.count(str(reply.status or "closed"))
            await asyncio.sleep(0.01)

    async def hold(self, start: bytes, drip: bytes = b"", every: float = 1, name: str = "") -> None:
        """Send the start of something, then a drip now and then; read nothing; begin anew."""
        while True:
            with suppress(OSError):
                async with connected(self.service.port, ADDRESS, 4096) as connection:
                    self.count(f"{name} begun")
                    self.achieved[f"{name} held"] += 1
                    try:
                        await send(connection, start)
                        await self.wait_for_the_end(connection, drip, every)
                    finally:
                        self.achieved[f"{name} held"] -= 1
            await asyncio.sleep(0.2)

    async def wait_for_the_end(self, connection: socket.socket, drip: bytes, every: float) -> None:
        """Send drips until the connection ends; without drips only look, and read nothing."""
        while True:
            if drip:
                with suppress(TimeoutError):
                    async with asyncio.timeout(every):
                        if not await received(connection):
                            return
                await send(connection, drip)
            else:
                await asyncio.sleep(every)
                if is_over(connection):
                    return


def is_over(connection: socket.socket) -> bool:
    """Tell whether the other side has closed or reset a connection whose data are not read."""
    poll = select.poll()
    poll.register(connection, select.POLLRDHUP)
    return bool(poll.poll(0))


async def crowd(clients: Iterable[Awaitable[None]], seconds: float) -> None:
    """Run clients at once, and cancel them after some seconds; raises what one of them raised."""
    tasks = [asyncio.ensure_future(client) for client in clients]
    try:
        done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        await end(tasks)


async def end(tasks: Iterable[asyncio.Future[None]]) -> None:
    """Cancel tasks until they end: one that just got what it waited for may miss it once."""
    pending = {task for task in tasks if not task.done()}
    for _ in range(120):
        if not pending:
            return
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=0.5)
    raise RuntimeError(f"{len(pending)} clients of an attack do not end: {next(iter(pending))}")


class Attack(NamedTuple):
    """An attack by its name on the command line, and what clients do."""

    name: str
    title: str
    run: Callable[[Target], Awaitable[None]]
