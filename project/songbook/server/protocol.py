"""HTTP/1.1 on a connection, where uvicorn's own reading of it falls short."""

import asyncio
from secrets import token_hex
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from songbook.errors import BadRequest, HeaderFieldsTooLarge, Problem, UriTooLong, title_of

HEAD_LIMIT = 64 * 1024
"""The most bytes of a request's line and headers."""


class HttpProtocol(HttpToolsProtocol):
    """Bounds what a request may begin with, and refuses what cannot be read in the one shape.

    A client that has closed its side of the connection after a whole request gets its answer (RFC
    9112, section 9.6).
    """

    problem: Problem = BadRequest("The request is not HTTP/1.1.")
    head: int | None = None
    """How many bytes of a head have come since it began, None between heads."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to read what comes on a connection."""
        super().connection_made(_BufferedTransport(transport, self.loop))  # type: ignore[arg-type]

    def data_received(self, data: bytes) -> None:
        """Read what has come, unless it makes the head too large."""
        if self.head is not None:
            self.head += len(data)
            if self.head > HEAD_LIMIT:
                self.send_400_response(str(self._too_large()))
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        """Begin to count."""
        self.head = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Go on with a head of a bearable size."""
        self.head = None
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > HEAD_LIMIT:
            raise self._too_large()
        super().on_headers_complete()

    def _too_large(self) -> Problem:
        self.problem = UriTooLong() if len(self.url) > HEAD_LIMIT // 2 else HeaderFieldsTooLarge()
        return self.problem

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the problem says more
        """Refuse the request with a problem, and close the connection."""
        request_id = token_hex(8)
        body = self.problem.body("/", request_id)
        head = (
            f"HTTP/1.1 {self.problem.status} {title_of(self.problem.status)}\r\n"
            "content-type: application/problem+json\r\n"
            f"content-length: {len(body)}\r\n"
            "cache-control: no-store\r\n"
            "x-content-type-options: nosniff\r\n"
            f"x-request-id: {request_id}\r\n"
            "connection: close\r\n\r\n"
        )
        self.transport.write((head + body).encode())
        self.transport.close()

    def eof_received(self) -> bool:  # type: ignore[override]  # what asyncio asks for
        """Keep the connection for the answer that is being made, and no longer."""
        self.transport.flush()  # type: ignore[attr-defined]  # else the loop closes it before
        cycle = self.cycle
        if cycle is None or cycle.response_complete or cycle.more_body:
            return False
        cycle.keep_alive = False
        return True


class _BufferedTransport:
    """A transport that sends at once what is written in one turn of the loop.

    uvicorn writes the head of an answer, and then the body: two system calls and two packets. With
    one of each a create takes an eighth less CPU, and a read as much as before.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Send the data before anything else happens."""
        if not self._pieces:
            self._loop.call_soon(self.flush)
        self._pieces.append(data)

    def close(self) -> None:
        """Close the connection behind what was written."""
        self.flush()
        self._transport.close()

    def flush(self) -> None:
        """Send what was written."""
        pieces, self._pieces = self._pieces, []
        if pieces and not self._transport.is_closing():
            self._transport.write(b"".join(pieces))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
