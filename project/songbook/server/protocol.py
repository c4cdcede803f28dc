"""HTTP/1.1: limits, error responses and the end of a connection, which uvicorn lacks."""

import asyncio
from secrets import token_hex
from typing import Any, Literal

from httptools import HttpParserError, HttpParserUpgrade
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from songbook.errors import (
    BadRequest,
    HttpVersionNotSupported,
    Problem,
    RequestTimeout,
    title_of,
)
from songbook.logs import Event
from songbook.metrics import REFUSALS
from songbook.server.framing import (
    FRAMING_LIMIT,
    FRAMING_PER_BYTE,
    HEAD_LIMIT,
    Dropped,
    check_head,
    check_size,
    has_body,
    may_be_long,
    problem_of,
    too_large,
)

LINGER_SECONDS = 5
LINGER_BYTES = 16 * 1024 * 1024
"""How long, and how many bytes, an unread body is discarded behind its response.

Closing at once would reset the connection, and urllib lost the 413 of 10 MB. With 64 KiB it still
did, five times of five.
"""

REFUSED_BYTES = 256 * 1024
"""How many bytes are discarded behind what is no valid request."""

_TRAILERS = Dropped()


class HttpProtocol(HttpToolsProtocol):
    """Limits what a client sends, and sends problem details for invalid requests.

    A half-closed connection still gets its response (RFC 9112, section 9.6).
    """

    part: Literal["head", "body"] | None = None
    """The part of a request that is being received, None between requests."""

    framing = 0
    """The bytes received since the last head or request, less what its body allows."""

    is_in_pieces = False
    """Whether the head may be larger than its limit: it came in pieces or in a large one."""

    discarding: int | None = None
    """How many bytes are yet to be discarded before the connection is cut, None to parse them."""

    @property
    def is_begun(self) -> bool:
        """Whether the first request, or the headers of a later one, are still to come."""
        return self.cycle is None or self.part == "head"

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wrap the transport."""
        super().connection_made(_BufferedTransport(transport, self))  # type: ignore[arg-type]

    def data_received(self, data: bytes) -> None:
        """Parse the data, unless it is to be discarded."""
        size = len(data)
        if self.discarding is not None:
            self._discard(size)
            return
        self._unset_keepalive_if_required()
        self.framing += size
        self.is_in_pieces = self.part == "head" or size > HEAD_LIMIT
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade:  # the parser cannot go on
            self.discarding = REFUSED_BYTES
            self.cycle.keep_alive = False
        except HttpParserError as error:
            self.refuse(problem_of(error))
        else:
            if self.framing > FRAMING_LIMIT or self.part == "head":
                self._check_unfinished(data)

    def _discard(self, size: int) -> None:
        """Cut the connection when enough was discarded. Responses that are due come first."""
        if not self.transport.is_closing():
            self.flow.pause_reading()
            return
        self.discarding = (self.discarding or 0) - size
        if self.discarding < 0:
            self.transport.abort()

    def _check_unfinished(self, data: bytes) -> None:
        """Refuse a request that is too large before its end, or of HTTP/0.9."""
        if self.part == "head":
            version = self.parser.get_http_version()
            if version == "0.9" or (version == "0.0" and data.endswith(b"\n")):  # 0.0: none yet
                self.refuse(HttpVersionNotSupported())
            elif self.framing > HEAD_LIMIT:
                self.refuse(too_large(self.url))
        elif self.framing > FRAMING_LIMIT:
            self.refuse(BadRequest("The request has much framing for little body."))

    def on_message_begin(self) -> None:
        """Begin a head."""
        self.part = "head"
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Check the head and start the request. Raises a Problem."""
        if self.is_in_pieces:
            check_size(self.url, self.headers)
        fields = check_head(self.parser.get_http_version(), self.headers)
        if has_body(fields) and self.parser.should_upgrade():
            raise BadRequest("A request with a body cannot upgrade: send it without Upgrade.")
        super().on_headers_complete()
        self.part, self.framing, self.headers = "body", 0, _TRAILERS
        if self.cycle.keep_alive and (self.expect_100_continue or may_be_long(fields)):
            self.cycle.keep_alive = None  # type: ignore[assignment]  # not while it is unread

    def on_body(self, body: bytes) -> None:
        """Allow more framing for more body."""
        self.framing -= (1 + FRAMING_PER_BYTE) * len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Keep the connection after a body that was read whole."""
        self.part, self.framing = None, 0
        cycle: Any = self.cycle
        if cycle.keep_alive is None and not cycle.response_started:
            cycle.keep_alive = True
        super().on_message_complete()

    def refuse(self, problem: Problem) -> None:
        """Send a problem after the responses that are due; discard the rest and close."""
        self.discarding = REFUSED_BYTES
        if not isinstance(problem, RequestTimeout):
            REFUSALS.inc("framing")
        refused = Event("Invalid HTTP request", status=problem.status, detail=problem.detail)
        self.logger.warning(refused)
        cycle = self.cycle
        is_answered = False
        if self.part == "body":
            is_answered = cycle.response_started or bool(self.pipeline)
            cycle.disconnected = True
            cycle.message_event.set()
        elif cycle is not None and not cycle.response_complete:
            cycle.keep_alive = False  # the problem would be taken for its response
            return
        if not is_answered:
            self.transport.write(_response(problem))
        self.transport.close()

    def linger(self, transport: asyncio.Transport) -> bool:
        """Close for writing and read on if a request is unread. Return whether it is."""
        if self.discarding is None:
            if self.part is None:
                return False
            self.discarding = LINGER_BYTES
        transport.write_eof()
        self.flow.resume_reading()
        self.loop.call_later(LINGER_SECONDS, transport.close)
        return True

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio's type
        """Keep the connection open until the current response is complete."""
        self.transport.flush()  # type: ignore[attr-defined]  # before the loop closes it
        cycle = self.cycle
        if cycle is None or cycle.response_complete or cycle.more_body:
            return False
        cycle.keep_alive = False
        return True


def _response(problem: Problem) -> bytes:
    """Return the response to an invalid request, after which the connection is closed."""
    request_id = token_hex(8)
    body = problem.body("/", request_id)
    head = (
        f"HTTP/1.1 {problem.status} {title_of(problem.status)}\r\n"
        "content-type: application/problem+json\r\n"
        f"content-length: {len(body)}\r\n"
        "cache-control: no-store\r\n"
        "x-content-type-options: nosniff\r\n"
        f"x-request-id: {request_id}\r\n"
        "connection: close\r\n\r\n"
    )
    return (head + body).encode()


class _BufferedTransport:
    """A transport that joins the writes of one iteration of the loop.

    uvicorn writes headers and body separately, which are two system calls and two packets; with one
    of each a create takes an eighth less CPU.
    """

    def __init__(self, transport: asyncio.Transport, protocol: HttpProtocol) -> None:
        self._transport = transport
        self._protocol = protocol
        self._loop = protocol.loop
        self._buffer: list[bytes] = []
        self._is_closed = False

    def write(self, data: bytes) -> None:
        """Buffer the data until the end of the iteration."""
        if not self._buffer:
            self._loop.call_soon(self.flush)
        self._buffer.append(data)

    def close(self) -> None:
        """Flush and close, at once or when the client has sent its request."""
        self.flush()
        if not self.is_closing():
            self._is_closed = True
            if not self._protocol.linger(self._transport):
                self._transport.close()

    def is_closing(self) -> bool:
        """Return whether nothing more is written."""
        return self._is_closed or self._transport.is_closing()

    def flush(self) -> None:
        """Send the buffered data."""
        chunks, self._buffer = self._buffer, []
        if chunks and not self.is_closing():
            self._transport.write(b"".join(chunks))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
