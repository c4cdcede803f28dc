"""uvicorn's server with a drain: a deploy loses no request.

SIGTERM: `/readyz` fails at once, and for DRAIN_SECONDS all is served as before, but each response
says `Connection: close`. Then the connections that wait at the listeners are taken in, the
listeners are closed, responses under way are completed, and idle connections are closed.

SIGINT, and a second signal, do not wait. SIGHUP is for one of several workers, which a new one has
replaced: it stays ready, but accepts no new connections. A server that is alone drains.
"""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socket import socket
from types import FrameType

import uvicorn

from songbook.http import DRAINING
from songbook.server.systemd import notify

_TICK_SECONDS = 0.1
_LINGER_SECONDS = 1.0
"""Seconds that a new connection has for its first request after the listeners were closed."""

_CLOSE = (b"connection", b"close")


class Server(uvicorn.Server):
    """Drains before it stops; `parent` is the process of which it is a worker."""

    def __init__(self, config: uvicorn.Config, drain_seconds: float, parent: int = 0) -> None:
        super().__init__(config)
        self._drain_seconds = drain_seconds
        self._parent = parent
        self._is_hurried = False
        self._is_replaced = False

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle SIGHUP, too, unless it is ignored, as with nohup."""
        with super().capture_signals():
            original = signal.getsignal(signal.SIGHUP)
            if original is not signal.SIG_IGN:
                signal.signal(signal.SIGHUP, self.handle_exit)
            try:
                yield
            finally:
                signal.signal(signal.SIGHUP, original)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop at the next tick."""
        self._is_hurried = self.should_exit or sig == signal.SIGINT
        if not self.should_exit:
            self._is_replaced = bool(self._parent) and sig == signal.SIGHUP
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Start as uvicorn does; a server that is alone reports to systemd."""
        await super().startup(sockets)
        if not self._parent:
            notify("READY=1")

    async def on_tick(self, counter: int) -> bool:
        """Return whether to stop, also because the parent was killed."""
        if self._parent and os.getppid() != self._parent:
            self.should_exit = self._is_hurried = True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Drain, then stop as uvicorn does."""
        if not self._parent:
            notify("STOPPING=1")
        listeners = sockets or []
        if self._is_replaced:
            self._close(listeners)
        else:
            self.lifespan.state[DRAINING] = True
        self._announce_close()
        for tick in range(round(self._drain_seconds / _TICK_SECONDS)):
            if self._is_hurried:
                break
            await self.on_tick(tick)
            await asyncio.sleep(_TICK_SECONDS)
        if not self._is_replaced:
            await self._take_in(listeners)
        await self._linger()
        await super().shutdown()

    def _announce_close(self) -> None:
        """Send `Connection: close` with each response whose headers have not been sent."""
        self.config.encoded_headers.append(_CLOSE)  # of uvicorn's default headers, once a second
        self.server_state.default_headers = [*self.server_state.default_headers, _CLOSE]
        for connection in self.server_state.connections:
            cycle = getattr(connection, "cycle", None)
            if cycle and not cycle.response_started:
                cycle.keep_alive = False

    async def _take_in(self, listeners: list[socket]) -> None:
        """Accept what waits in the queues of the listeners, and close them.

        The kernel would reset the connections that it has accepted and we have not.
        """
        queues = [each.dup() for each in listeners]  # the event loop does not know these
        self._close(listeners)
        await asyncio.sleep(0)
        accepted = []
        for queue in queues:
            queue.setblocking(False)
            with queue, suppress(BlockingIOError):
                while True:
                    accepted.append(queue.accept()[0])
        for each in accepted:
            each.setblocking(False)
            await asyncio.get_running_loop().connect_accepted_socket(self._protocol, each)

    def _protocol(self) -> asyncio.Protocol:
        make: type[asyncio.Protocol] = self.config.http_protocol_class
        return make(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )

    def _close(self, listeners: list[socket]) -> None:
        for server in self.servers:
            server.close()
        for listener in listeners:
            listener.close()
        self.servers = []

    async def _linger(self) -> None:
        """Wait until no connection is about to have its first request, or the rest of one."""
        loop = asyncio.get_running_loop()
        end = loop.time() + max(_TICK_SECONDS, min(_LINGER_SECONDS, self._drain_seconds))
        while loop.time() < end and not self._is_hurried:
            if not any(getattr(each, "is_begun", False) for each in self.server_state.connections):
                break
            await asyncio.sleep(_TICK_SECONDS / 5)
