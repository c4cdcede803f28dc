"""An HTTP client with one kept connection, which tells definite outcomes from unknown ones."""

import asyncio
import json
import re
from asyncio import StreamReader, StreamWriter
from enum import Enum
from typing import Any, NamedTuple

from balancer import CLOSE, length_of

PATIENCE = 90  # seconds until a request is given up
NEXT = re.compile(rb'\r\nlink: <([^>]+)>; *rel="next"', re.IGNORECASE)
ETAG = re.compile(rb"\r\netag: *([^\r]+)", re.IGNORECASE)


class Outcome(Enum):
    """What a client knows about its request."""

    OK = "ok"
    CONFLICT = "conflict"
    """409 or 412: it did not happen."""
    FAILED = "failed"
    """503 with Retry-After: it did not happen."""
    UNKNOWN = "unknown"
    """503 of the type outcome-unknown, or no answer."""
    REFUSED = "refused"
    """No connection: it was not sent."""


class Answer(NamedTuple):
    """An answer; `breach` says what is wrong with it."""

    outcome: Outcome
    status: int = 0
    head: bytes = b""
    body: bytes = b""
    breach: str = ""

    def json(self) -> Any:
        """Return the value of the body."""
        return json.loads(self.body)

    @property
    def is_replayed(self) -> bool:
        """Return whether it is the stored answer of an earlier request with the same key."""
        return b"\r\nidempotency-replayed: true" in self.head.lower()


class Client:
    """A client with one connection, opened again when it was closed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[StreamReader, StreamWriter] | None = None

    async def ask(
        self, method: str, path: str, value: object = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """Send a request; return the answer."""
        message = encode(method, path, value, headers or {})
        try:
            reader, writer = await self._connect()
        except OSError:
            return Answer(Outcome.REFUSED)
        try:
            async with asyncio.timeout(PATIENCE):
                writer.write(message)
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(0 if head[9:12] == b"304" else length_of(head))
        except (OSError, EOFError):
            self.close()
            return Answer(Outcome.UNKNOWN)
        except TimeoutError:
            self.close()
            return Answer(Outcome.UNKNOWN, breach=f"no answer in {PATIENCE} s")
        if CLOSE.search(head):
            self.close()
        return classify(int(head[9:12]), head, body)

    async def _connect(self) -> tuple[StreamReader, StreamWriter]:
        if self._streams and not self._streams[0].at_eof():
            return self._streams
        self.close()
        self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        return self._streams

    def close(self) -> None:
        """Close the connection."""
        if self._streams:
            self._streams[1].close()
            self._streams = None


def encode(method: str, path: str, value: object, headers: dict[str, str]) -> bytes:
    """Return a request as it goes over the socket."""
    body = b"" if value is None else json.dumps(value).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    lines += [f"{name}: {text}" for name, text in headers.items()]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def classify(status: int, head: bytes, body: bytes) -> Answer:
    """Return an answer with its outcome."""
    if status < 400:
        return Answer(Outcome.OK, status, head, body)
    if status in {409, 412}:
        return Answer(Outcome.CONFLICT, status, head, body)
    if status < 500:
        return Answer(Outcome.FAILED, status, head, body, f"HTTP {status}: {body[:200]!r}")
    return _classify_error(status, head, body)


def _classify_error(status: int, head: bytes, body: bytes) -> Answer:
    """Return an answer of 5xx with its outcome; only a problem of 503 is no breach."""
    lower = head.lower()
    if status != 503 or b"\r\ncontent-type: application/problem+json" not in lower:
        reason = lower.partition(b"\r\n")[0].decode("latin-1")
        return Answer(Outcome.UNKNOWN, status, head, body, reason)
    has_delay = b"\r\nretry-after:" in lower
    if json.loads(body)["type"].endswith("/outcome-unknown"):
        breach = "outcome-unknown with Retry-After" if has_delay else ""
        return Answer(Outcome.UNKNOWN, status, head, body, breach)
    if has_delay:
        return Answer(Outcome.FAILED, status, head, body)
    return Answer(Outcome.UNKNOWN, status, head, body, "503 without Retry-After")
