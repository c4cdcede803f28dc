"""HTTP/1.1 as bytes on sockets, so that nothing is corrected on its way."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

PATIENCE = 25.0  # seconds until an answer is given up: abuse_bounds.py says when it is late
CHUNK = 64 * 1024  # bytes
JSON = "Content-Type: application/json"


class Reply(NamedTuple):
    """A response; status 0 is a connection that was closed, or silent, without one."""

    status: int = 0
    headers: dict[str, str] = {}  # noqa: RUF012 - nobody changes it
    body: bytes = b""
    seconds: float = 0.0


def head(method: str, target: str | bytes, *lines: str | bytes, host: str = "songbook") -> bytes:
    """Return the head of a request."""
    target = target.encode() if isinstance(target, str) else target
    fields = [line.encode("latin-1") if isinstance(line, str) else line for line in lines]
    first = b"%b %b HTTP/1.1" % (method.encode(), target)
    return b"\r\n".join([first, b"Host: " + host.encode(), *fields, b"", b""])


def message(
    method: str, target: str, body: bytes | str, *lines: str, kind: str = "application/json"
) -> bytes:
    """Return a request with a body."""
    content = body.encode() if isinstance(body, str) else body
    length = f"Content-Length: {len(content)}"
    return head(method, target, f"Content-Type: {kind}", length, *lines) + content


def chunked(content: bytes, size: int = 16 * 1024) -> bytes:
    """Return a body in chunks."""
    parts = [content[at : at + size] for at in range(0, len(content), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


@asynccontextmanager
async def connected(
    port: int, address: str = "127.0.0.1", buffer: int = 0
) -> AsyncIterator[socket.socket]:
    """Open a connection from a loopback address, and reset it at the end; `buffer` is in bytes."""
    with socket.socket() as connection:
        connection.setblocking(False)
        # Closed sockets would keep their ports for a minute; there are some thousand a second.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        if buffer:
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                connection.setsockopt(socket.SOL_SOCKET, option, buffer)
        connection.bind((address, 0))
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
        yield connection


async def send(connection: socket.socket, data: bytes) -> None:
    """Send all of it."""
    await asyncio.get_running_loop().sock_sendall(connection, data)


async def receive(connection: socket.socket, size: int = CHUNK) -> bytes:
    """Receive what is there, nothing at the end."""
    return await asyncio.get_running_loop().sock_recv(connection, size)


async def ask(
    port: int, request: bytes, *, address: str = "127.0.0.1", patience: float = PATIENCE
) -> Reply:
    """Send a request on a new connection; return what comes back within the patience."""
    begun = asyncio.get_running_loop().time()
    reply = Reply()
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(patience), connected(port, address) as connection:
            reply = await exchange(connection, request)
    return reply._replace(seconds=asyncio.get_running_loop().time() - begun)


async def exchange(connection: socket.socket, request: bytes) -> Reply:
    """Send a request; return the response, which may come before all is sent."""
    sending = asyncio.ensure_future(send(connection, request))
    try:
        return await read_reply(connection, request.partition(b" ")[0].decode("latin-1"))
    finally:
        sending.cancel()
        with suppress(OSError, asyncio.CancelledError):
            await sending


async def read_reply(connection: socket.socket, method: str = "GET") -> Reply:
    """Read one response."""
    data = b""
    while True:
        start, end, rest = data.partition(b"\r\n\r\n")
        if end and start[9:10] == b"1":
            data = rest  # 100 Continue
            continue
        if end:
            break
        if not (piece := await received(connection)):
            return Reply()
        data += piece
    status, headers = parse_head(start)
    if method == "HEAD" or status in {204, 304}:
        return Reply(status, headers)
    return Reply(status, headers, await read_body(connection, headers, rest))


async def received(connection: socket.socket) -> bytes:
    """Receive; a broken connection is at its end."""
    try:
        return await receive(connection)
    except OSError:
        return b""


def parse_head(data: bytes) -> tuple[int, dict[str, str]]:
    """Return the status and the headers, their names in lower case."""
    first, *lines = data.decode("latin-1").split("\r\n")
    words = first.split()
    if len(words) < 2 or not words[1].isdigit():
        return 0, {}
    pairs = [line.partition(":") for line in lines]
    return int(words[1]), {name.lower(): value.strip() for name, _, value in pairs}


async def read_body(connection: socket.socket, headers: dict[str, str], data: bytes) -> bytes:
    """Read to the end of the body."""
    length = headers.get("content-length")
    is_chunked = headers.get("transfer-encoding") == "chunked"
    while True:
        if length is not None and len(data) >= int(length):
            return data[: int(length)]
        if is_chunked and data.endswith(b"0\r\n\r\n"):
            return data
        if not (piece := await received(connection)):
            return data
        data += piece
