"""What a connection may hold: time, sockets, and memory for responses that are not read.

One sweep a second checks all connections of a process, so that no request needs a timer.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Collection
from functools import partial
from typing import Any, cast

from uvicorn.protocols.http.flow_control import FlowControl

from songbook.config import Settings
from songbook.errors import RequestTimeout
from songbook.http import BULK_BYTES_PER_SECOND, Pace
from songbook.metrics import REFUSALS, Gauge
from songbook.server.limits import Limits, unsent_bytes
from songbook.server.protocol import HttpProtocol

BODY_BYTES_PER_SECOND = 500
"""The least rate of a body after its first `BODY_SECONDS`; imports have one of their own."""

_CONNECTIONS = Gauge("songbook_connections", "The connections of clients.")
_SLICE = 4096
"""Bytes that are parsed at once: each pipelined request in them takes 3 KB of memory."""

_SWEEP_SECONDS = 1.0


def protocol_factory(settings: Settings) -> type[asyncio.Protocol]:
    """Return what uvicorn calls for each connection of a process; it can be sent to workers."""
    factory = partial(BoundedProtocol, connections=Connections(Limits.of(settings)))
    return cast("type[asyncio.Protocol]", factory)


class BoundedProtocol(HttpProtocol):
    """A connection that is closed when its client is too slow, or when another needs its place."""

    body: Pace
    """How the current body comes."""
    reading: Pace
    """How the client reads, while it does not read as fast as the service writes."""

    def __init__(self, *arguments: Any, connections: "Connections", **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.bounds = connections
        self.queue: _Queue | None = None
        self.deadline = 0.0
        """When the head has to be complete (loop time)."""
        self.received = 0
        """The bytes of the body since the last sweep."""
        self.buffered = 0
        """The bytes in the write buffer, when last measured."""
        self._unread = 0
        self.unparsed = b""
        """What was received behind a request that waits for another's response."""
        self._has_waiting_request = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a head, if there is room for the connection."""
        super().connection_made(transport)
        self.flow = _Flow(self.transport, self)
        transport.set_write_buffer_limits(high=0)  # writing pauses when the kernel takes no more
        if self.bounds.make_room(self):
            self.enter(self.bounds.heads)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self.enter(None)
        self.bounds.remove_unread(self)
        self._unset_keepalive_if_required()  # uvicorn's stays if it was reset, with 8 KB for 75 s
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse the data; note what the connection waits for next."""
        if (len(data) > _SLICE or self.pipeline) and self.discarding is None:
            self.unparsed += data
            self._parse()
        else:
            super().data_received(data)
        cycle = self.cycle
        if cycle is None or cycle.more_body or cycle.response_complete:
            self._wait_for_more(len(data))
        elif self.queue is not None:
            del self.queue[self]
            self.queue = None

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio's type
        """Keep the connection for the current response, unless another needs its place."""
        is_kept = super().eof_received()
        if is_kept and not self.cycle.response_started:
            self.enter(self.bounds.half_closed)
        return is_kept

    def on_response_complete(self) -> None:
        """Wait for the next request; a pipelined one begins when this response has been read."""
        if self.pipeline:
            self.transport.flush()  # type: ignore[attr-defined]
            if self.flow.write_paused:
                self._has_waiting_request = True
                return
        super().on_response_complete()
        if self.unparsed:
            self._parse()
        cycle = self.cycle
        if cycle.more_body or not cycle.response_complete or cycle.scope is not self.scope:
            self._wait_for_more(0)
        elif cycle.keep_alive and self.queue is None:
            self.queue = self.bounds.idle
            self.queue[self] = None

    def pause_writing(self) -> None:
        """Wait until the client reads; until then no other request of it is read."""
        super().pause_writing()
        if self.cycle is not None and self.cycle.response_complete:
            self.flow.pause_reading()
            if self.queue is self.bounds.idle:
                self.enter(None)
        self.bounds.add_unread(self)

    def resume_writing(self) -> None:
        """Go on after the client has read."""
        super().resume_writing()
        self.bounds.remove_unread(self)
        if self._has_waiting_request:
            self._has_waiting_request = False
            self.on_response_complete()
        elif self.cycle is not None and self.cycle.response_complete:
            self.flow.resume_reading()
            if self.queue is None and self.cycle.keep_alive:
                self.enter(self.bounds.idle)

    def enter(self, queue: "_Queue | None") -> None:
        """Leave the queue that the connection is in for the end of another."""
        if self.queue is not None:
            del self.queue[self]
        self.queue = queue
        if queue is not None:
            queue[self] = None
            self.deadline = self.loop.time() + self.bounds.limits.head_seconds

    def time_out(self) -> None:
        """Close the connection, with 408 if a request has begun and its response has not."""
        self.enter(None)
        cycle = self.cycle
        is_in_head = self.scope is not None and (cycle is None or cycle.scope is not self.scope)
        is_answered = cycle is None or cycle.response_started
        if self.transport.is_closing() or (is_answered and not is_in_head):
            self.abort()
            return
        self.refuse(RequestTimeout())
        self._wait_for_more(0)

    def abort(self) -> None:
        """Close the connection at once, which ends the request in progress."""
        self.enter(None)
        self.bounds.remove_unread(self)
        self.transport.abort()

    def measure(self) -> int:
        """Return how many bytes the client took since the last measurement."""
        before, self.buffered = self._unread, self.transport.get_write_buffer_size()
        self._unread = self.buffered + unsent_bytes(self.transport.get_extra_info("socket"))
        return max(0, before - self._unread)

    def _parse(self) -> None:
        """Parse what was received, but not beyond a request that waits for another's response."""
        data, self.unparsed, at = self.unparsed, b"", 0
        self.flow.resume_reading()
        while at < len(data) and not self.pipeline and not self.transport.is_closing():
            super().data_received(data[at : at + _SLICE])
            at += _SLICE
        if at < len(data) and not self.transport.is_closing():
            self.unparsed = data[at:]
            self.flow.pause_reading()

    def _wait_for_more(self, size: int) -> None:
        """Wait for a head, or for the rest of a body of which `size` bytes came now."""
        cycle, bounds, is_closing = self.cycle, self.bounds, self.transport.is_closing()
        is_open = self.discarding is not None if is_closing else not self.pipeline
        if not is_open or self not in self.connections:
            self.enter(None)  # it is a WebSocket if uvicorn does not count it any more
        elif is_closing or (cycle is not None and cycle.more_body and cycle.scope is self.scope):
            if self.queue is not bounds.bodies:
                seconds, self.received = bounds.limits.body_seconds, 0
                self.body = Pace(self.loop.time(), seconds, BODY_BYTES_PER_SECOND, most=2 * seconds)
                self.enter(bounds.bodies)
            self.received += size
        elif (cycle is None or cycle.response_complete) and self.queue is not bounds.heads:
            self.enter(bounds.heads)


class _Flow(FlowControl):
    """Reads no more while anything is unparsed, also for a request that asks for its body."""

    def __init__(self, transport: asyncio.Transport, connection: BoundedProtocol) -> None:
        super().__init__(transport)
        self._connection = connection

    def resume_reading(self) -> None:
        """Read on."""
        if not self._connection.unparsed:
            super().resume_reading()


_Queue = OrderedDict[BoundedProtocol, None]


class Connections:
    """The connections of a process by what they wait for; each queue has the oldest first.

    A connection with a request in progress is in none but, maybe, `unread`, unless its client sends
    no more: most of those have gone, and would have all places while the database is slow.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.heads, self.bodies, self.idle = _Queue(), _Queue(), _Queue()
        self.half_closed = _Queue()
        self._unread = _Queue()
        """Those that do not read as fast as the service writes, the longest first."""
        self._unread_bytes = 0
        self._swept: float | None = None
        """When the last sweep was (loop time); None while there are no connections."""

    def make_room(self, newcomer: BoundedProtocol) -> bool:
        """Close a connection if there are too many: the newcomer if all others are in use."""
        if self._swept is None:
            self._swept = newcomer.loop.time()
            newcomer.loop.call_later(
                _SWEEP_SECONDS, self._sweep, newcomer.loop, newcomer.connections
            )
        if len(newcomer.connections) <= self.limits.connections:
            return True
        REFUSALS.inc("max_connections")
        for queue in (self.heads, self.bodies, self.idle, self.half_closed):
            if queue:
                next(iter(queue)).abort()
                return True
        newcomer.abort()
        return False

    def add_unread(self, connection: BoundedProtocol) -> None:
        """Note that a client does not read; cut those that read least while all hold too much."""
        limits = self.limits
        now, connection.buffered = connection.loop.time(), 0
        connection.measure()
        seconds = limits.unread_seconds
        connection.reading = Pace(now, seconds, BULK_BYTES_PER_SECOND, most=seconds)
        self._unread[connection] = None
        self._unread_bytes += connection.buffered
        if self._unread_bytes > limits.unread_bytes:
            self._check_unread(now)
            while self._unread_bytes > limits.unread_bytes and len(self._unread) > 1:
                REFUSALS.inc("unread_bytes")
                next(iter(self._unread)).abort()

    def remove_unread(self, connection: BoundedProtocol) -> None:
        """Note that a client has read everything, or is gone."""
        if connection in self._unread:
            del self._unread[connection]
            self._unread_bytes -= connection.buffered

    def _sweep(self, loop: asyncio.AbstractEventLoop, connections: Collection[object]) -> None:
        now = loop.time()
        elapsed = now - (self._swept or now)
        self._swept = now if connections else None
        _CONNECTIONS.set(len(connections))
        if connections:
            loop.call_later(_SWEEP_SECONDS, self._sweep, loop, connections)
        while self.heads and (oldest := next(iter(self.heads))).deadline <= now:
            REFUSALS.inc("head_seconds")
            oldest.time_out()
        for connection in list(self.bodies):
            paused = elapsed if connection.flow.read_paused else 0.0
            size, connection.received = connection.received, 0
            if not connection.body.advance(now, size, paused=paused):
                REFUSALS.inc("body_seconds")
                connection.time_out()
        for connection in self._check_unread(now):
            REFUSALS.inc("unread_seconds")
            connection.abort()

    def _check_unread(self, now: float) -> list[BoundedProtocol]:
        """Measure what is unread; return the connections that read too slowly."""
        too_slow = []
        for connection in list(self._unread):
            before, taken = connection.buffered, connection.measure()
            self._unread_bytes += connection.buffered - before
            if taken:
                self._unread.move_to_end(connection)
            if not connection.reading.advance(now, taken):
                too_slow.append(connection)
        return too_slow
