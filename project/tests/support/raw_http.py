"""HTTP as it is written to a socket."""

import socket
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPException, HTTPResponse

PATIENCE = 20.0


@dataclass
class Reply:
    """What came back: status 0 is a connection that was closed without an answer."""

    status: int = 0
    headers: Message = field(default_factory=Message)
    body: bytes = b""


def head(method: str, target: str | bytes, *headers: str | bytes) -> bytes:
    """Return the head of a request."""
    target = target.encode() if isinstance(target, str) else target
    lines = [line.encode("latin-1") if isinstance(line, str) else line for line in headers]
    first = method.encode() + b" " + target + b" HTTP/1.1"
    return b"\r\n".join([first, b"Host: songbook", *lines, b"", b""])


def message(
    method: str, target: str, body: bytes | str, *headers: str, kind: str = "application/json"
) -> bytes:
    """Return a request with a body."""
    content = body.encode() if isinstance(body, str) else body
    length = f"Content-Length: {len(content)}"
    return head(method, target, f"Content-Type: {kind}", length, *headers) + content


def chunked(content: bytes, size: int = 16 * 1024) -> bytes:
    """Return a body in chunks."""
    parts = [content[at : at + size] for at in range(0, len(content), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


class Served:
    """A server process, and the connections to it."""

    def __init__(self, port: int) -> None:
        self.port = port

    def connect(self) -> socket.socket:
        """Open a connection."""
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE)

    def ask(self, request: bytes) -> Reply:
        """Write a request on a new connection; return what comes back within the patience."""
        with self.connect() as connection:
            with suppress(ConnectionError):  # an answer, and the end, may come before all is sent
                connection.sendall(request)
            return read_reply(connection, request.partition(b" ")[0].decode("latin-1"))


def read_reply(connection: socket.socket, method: str = "GET") -> Reply:
    """Return the answer that a connection brings."""
    response = HTTPResponse(connection, method=method)
    try:
        response.begin()
        return Reply(response.status, response.headers, response.read())
    except (ConnectionError, HTTPException):
        return Reply()
    finally:
        response.close()
