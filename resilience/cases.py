"""Hostile requests as data: the statuses that may answer each; a refused one changes nothing."""

import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from abuse_http import message
from abuse_service import CANARY, PASSWORD

LIMIT = 64 * 1024  # bytes of a body
SONG = json.dumps({"name": CANARY, "artist": "b", "year": 1}).encode()

BODIES: dict[str, dict[str, Any]] = {
    "/songs": {"name": CANARY, "artist": "b", "year": 1},
    "/cities": {"name": CANARY, "population": 1},
    "/todos": {"content": CANARY},
    "/users": {"username": CANARY, "email": f"{CANARY}@example.org", "password": PASSWORD},
}
"""A body of each resource that would be stored."""


class Case(NamedTuple):
    """A request as it is written to the socket, and the statuses that may answer it.

    `layer` is A where the application answers, with problem details for an error; S where the HTTP
    server may answer before it, or close the connection (status 0). No answer repeats `bad`.
    """

    name: str
    request: bytes
    statuses: set[int]
    layer: str = "A"
    bad: str = ""


class Sender(NamedTuple):
    """Writes requests as a superuser, so that it is the request that is refused."""

    token: str

    def write(self, method: str, path: str, body: bytes | str | dict[str, Any]) -> bytes:
        """Return a request with a body, with credentials where they are needed."""
        content = json.dumps(body) if isinstance(body, dict) else body
        lines = [self.credentials] if path.startswith("/users") else []
        return message(method, path, content, *lines)

    @property
    def credentials(self) -> str:
        """Return the header."""
        return f"Authorization: Bearer {self.token}"


def each(
    name: str, requests: Iterable[tuple[str, bytes]], statuses: set[int], layer: str = "A"
) -> Iterator[Case]:
    """Give cases that may have the same answers."""
    for what, request in requests:
        bad = what if len(what) > 3 else ""
        yield Case(f"{name} {what[:40]!r}", request, statuses, layer, bad)
