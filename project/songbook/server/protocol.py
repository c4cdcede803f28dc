"""HTTP/1.1: limits and error responses that uvicorn lacks."""

import asyncio
from secrets import token_hex
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from songbook.errors import BadRequest, HeaderFieldsTooLarge, Problem, UriTooLong, title_of

HEAD_LIMIT = 64 * 1024
"""The maximum size of the request line and the headers, in bytes."""


class HttpProtocol(HttpToolsProtocol):
    """Limits the request line and the headers, and sends problem details for invalid requests.

    A half-closed connection still gets its response (RFC 9112, section 9.6).
    """

    problem: Problem = BadRequest("The request is not HTTP/1.1.")
    head: int | None = None
    """The bytes received since a message began, None after its headers."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wrap the transport."""
        super().connection_made(_BufferedTransport(transport, self.loop))  # type: ignore[arg-type]

    def data_received(self, data: bytes) -> None:
        """Parse the data unless the headers become too large."""
        if self.head is not None:
            self.head += len(data)
            if self.head > HEAD_LIMIT:
                self.send_400_response(str(self._too_large()))
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        """Start counting the bytes of the headers."""
        self.head = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Stop counting. Raises a Problem if the headers are too large."""
        self.head = None
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > HEAD_LIMIT:
            raise self._too_large()
        super().on_headers_complete()

    def _too_large(self) -> Problem:
        self.problem = UriTooLong() if len(self.url) > HEAD_LIMIT // 2 else HeaderFieldsTooLarge()
        return self.problem

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the problem says more
        """Send problem details and close the connection."""
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

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio's type
        """Keep the connection open until the current response is complete."""
        self.transport.flush()  # type: ignore[attr-defined]  # before the loop closes it
        cycle = self.cycle
        if cycle is None or cycle.response_complete or cycle.more_body:
            return False
        cycle.keep_alive = False
        return True


class _BufferedTransport:
    """A transport that joins the writes of one iteration of the loop.

    uvicorn writes headers and body separately, which are two system calls and two packets; with one
    of each a create takes an eighth less CPU.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._buffer: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Buffer the data until the end of the iteration."""
        if not self._buffer:
            self._loop.call_soon(self.flush)
        self._buffer.append(data)

    def close(self) -> None:
        """Flush and close."""
        self.flush()
        self._transport.close()

    def flush(self) -> None:
        """Send the buffered data."""
        chunks, self._buffer = self._buffer, []
        if chunks and not self._transport.is_closing():
            self._transport.write(b"".join(chunks))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
