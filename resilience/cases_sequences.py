"""Cases of several requests: connections, keys, credentials, what is deleted, pages."""

import asyncio
import json
import re
import socket
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from abuse_bounds import Bounds
from abuse_http import JSON, Reply, ask, connected, head, message, read_reply, receive, send
from abuse_service import PASSWORD
from cases import SONG, Sender


class World(NamedTuple):
    """The service, and a superuser of it."""

    port: int
    sender: Sender
    bounds: Bounds

    async def ask(self, request: bytes) -> Reply:
        """Send a request on a connection of its own."""
        reply = await ask(self.port, request)
        assert reply.seconds <= self.bounds.patience, f"answered after {reply.seconds:.1f} s"
        return reply

    async def write(self, method: str, path: str, body: dict[str, Any]) -> Reply:
        """Send a request with a body, as a superuser."""
        return await self.ask(self.sender.write(method, path, body))

    async def sign_in(self, username: str, password: str = PASSWORD) -> str:
        """Return a token."""
        form = f"username={username}&password={password}"
        kind = "application/x-www-form-urlencoded"
        reply = await self.ask(message("POST", "/api/auth/token", form, kind=kind))
        expect(reply, 200)
        return str(json.loads(reply.body)["access_token"])


def expect(reply: Reply, *statuses: int) -> Reply:
    """Return the reply if it has one of the statuses."""
    assert reply.status in statuses, f"{reply.status} in place of {statuses}: {reply.body[:200]!r}"
    return reply


async def all_of(connection: socket.socket) -> bytes:
    """Receive to the end."""
    parts = []
    while piece := await receive(connection):
        parts.append(piece)
    return b"".join(parts)


async def pipelined(world: World) -> None:
    """Send 100 requests in one segment: they are answered in order."""
    names = [f"r-{number}" for number in range(100)]
    requests = [head("GET", "/songs/x", f"X-Request-ID: {name}") for name in names]
    requests[-1] = head("GET", "/songs/x", f"X-Request-ID: {names[-1]}", "Connection: close")
    async with connected(world.port) as connection:
        await send(connection, b"".join(requests))
        answers = (await all_of(connection)).decode()
    assert re.findall("x-request-id: (.+)\r\n", answers) == names


async def half_closed(world: World) -> None:
    """Stop sending behind a request: the whole response comes."""
    async with connected(world.port) as connection:
        await send(connection, head("GET", "/songs/1"))
        connection.shutdown(socket.SHUT_WR)
        expect(await read_reply(connection), 200)


async def reset(world: World) -> None:
    """Reset connections in the middle of a request: others are answered."""
    whole = message("POST", "/songs", SONG)
    for part in [head("GET", "/songs"), whole[:-5], whole[:20], b"", head("GET", "/x")] * 10:
        async with connected(world.port) as connection:
            await send(connection, part)
    expect(await world.ask(head("GET", "/songs/1")), 200)


async def byte_by_byte(world: World) -> None:
    """Send a request a byte at a time: it is executed."""
    async with connected(world.port) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in message("POST", "/songs", SONG):
            await send(connection, bytes([byte]))
        expect(await read_reply(connection, "POST"), 201)


async def expected(world: World) -> None:
    """Wait for 100 Continue with a large body: 413 comes without one."""
    lines = (JSON, "Content-Length: 104857600", "Expect: 100-continue")
    async with connected(world.port) as connection:
        await send(connection, head("POST", "/songs", *lines))
        answer = await receive(connection)
    assert answer.startswith(b"HTTP/1.1 413 "), answer[:100]


async def hidden(world: World) -> None:
    """Hide a request in the body of a refused one: it is not executed."""
    inner = head("DELETE", "/songs/1")
    async with connected(world.port) as connection:
        await send(connection, message("POST", "/songs", inner, kind="text/plain"))
        expect(await read_reply(connection, "POST"), 415)
    expect(await world.ask(head("GET", "/songs/1")), 200)


async def trailing(world: World) -> None:
    """Send credentials in a trailer: they count for nothing."""
    lines = (JSON, "Transfer-Encoding: chunked")
    user = json.dumps({"username": "trailer", "email": "t@example.org", "password": PASSWORD})
    chunk = f"{len(user):x}\r\n{user}\r\n0\r\n{world.sender.credentials}\r\n\r\n".encode()
    expect(await world.ask(head("POST", "/users", *lines) + chunk), 400, 401)


async def replayed(world: World) -> None:
    """Send a key again: the same request is replayed, another one refused."""
    key = 'Idempotency-Key: "abuse-1"'
    first = expect(await world.ask(message("POST", "/songs", SONG, key)), 201)
    again = expect(await world.ask(message("POST", "/songs", SONG, key)), 201)
    assert first.body == again.body
    assert again.headers.get("idempotency-replayed") == "true"
    expect(await world.ask(message("POST", "/songs", SONG.replace(b"1", b"2"), key)), 422)
    expect(await world.ask(message("POST", "/todos", '{"content":"a"}', key)), 422)


async def at_once(world: World) -> None:
    """Send one key twenty times at once: one request is executed."""
    request = message("POST", "/songs", SONG, 'Idempotency-Key: "abuse-2"')
    replies = await asyncio.gather(*(world.ask(request) for _ in range(20)))
    bodies = {expect(reply, 201, 409).body for reply in replies if reply.status == 201}
    assert len(bodies) == 1


async def deleted(world: World) -> None:
    """Use what is deleted: it is gone."""
    for path, body in (
        ("/songs", {"name": "a", "artist": "b"}),
        ("/cities", {"name": "Atlantis", "population": 0}),
        ("/todos", {"content": "a"}),
    ):
        place = expect(await world.write("POST", path, body), 201).headers["location"]
        expect(await world.ask(head("DELETE", place)), 204)
        for method in ("DELETE", "GET", "HEAD"):
            expect(await world.ask(head(method, place)), 404)
        expect(await world.write("PUT", place, body), 404)
        expect(await world.write("PATCH", place, body), 404)


async def ended_tokens(world: World) -> None:
    """Use tokens after their user got a password, was deactivated, deleted: each has ended."""
    user = {"username": "ended", "email": "ended@example.org", "password": PASSWORD}
    place = expect(await world.write("POST", "/users", user), 201).headers["location"]
    for change in ({"password": PASSWORD}, {"is_active": False}):
        bearer = f"Authorization: Bearer {await world.sign_in('ended')}"
        expect(await world.ask(head("GET", "/users/me", bearer)), 200)
        expect(await world.write("PATCH", place, change), 200)
        expect(await world.ask(head("GET", "/users/me", bearer)), 401)
    expect(await world.write("PATCH", place, {"is_active": True}), 200)
    bearer = f"Authorization: Bearer {await world.sign_in('ended')}"
    expect(await world.ask(head("DELETE", place, world.sender.credentials)), 204)
    expect(await world.ask(head("GET", "/users/me", bearer)), 401)


async def forbidden(world: World) -> None:
    """Ask to be a superuser: it is refused."""
    user = {"username": "plain", "email": "plain@example.org", "password": PASSWORD}
    expect(await world.write("POST", "/users", user), 201)
    bearer = f"Authorization: Bearer {await world.sign_in('plain')}"
    for method, path, status in (
        ("PATCH", "/users/me", 422), ("PATCH", "/users/1", 403), ("POST", "/users", 403)
    ):  # fmt: skip
        body = json.dumps({"is_superuser": True})
        expect(await world.ask(message(method, path, body, bearer)), status)
    expect(await world.ask(head("DELETE", "/users/1", bearer)), 403)
    expect(await world.ask(head("DELETE", "/users/1", world.sender.credentials)), 409)


async def guessed(world: World) -> None:
    """Guess a password eleven times: the last try is refused unread, and others sign in."""
    form = "username=nobody&password=wrong-wrong&n=%d"
    kind = "application/x-www-form-urlencoded"
    for number in range(11):
        request = message("POST", "/api/auth/token", form % number, kind=kind)
        reply = expect(await world.ask(request), 429 if number == 10 else 401)
    assert int(reply.headers["retry-after"]) > 0
    await world.sign_in("ada")


async def documented(world: World) -> None:
    """Read the OpenAPI document fifty times at once: it is the same."""
    replies = await asyncio.gather(*(world.ask(head("GET", "/openapi.json")) for _ in range(50)))
    assert len({expect(reply, 200).body for reply in replies}) == 1


async def paged(world: World) -> None:
    """Read pages to the last row: they end there."""
    reply = expect(await world.ask(head("GET", "/songs?year=9998")), 200)
    assert (reply.body, "link" in reply.headers) == (b"[]", False)
    for number in range(3):
        expect(await world.write("POST", "/songs", {"name": f"{number}", "artist": "page"}), 201)
    for limit, has_next in ((4, False), (3, False), (2, True)):
        reply = expect(await world.ask(head("GET", f"/songs?artist=page&limit={limit}")), 200)
        assert ("link" in reply.headers) == has_next, limit
    cursor = re.findall("after=([^&>]+)", reply.headers["link"])[0]
    for query in ("artist=page", "artist=page&limit=2"):
        expect(await world.ask(head("GET", f"/songs?{query}&after={cursor}")), 200)
    expect(await world.ask(head("GET", f"/songs?artist=other&after={cursor}")), 400)
    expect(await world.ask(head("GET", f"/cities?after={cursor}")), 400)


async def crossing(world: World) -> None:
    """Ask as another site: it is not allowed, and its name is in no response."""
    lines = ("Origin: https://evil.example", "X-Forwarded-Host: evil.example")
    for method, path in (("GET", "/songs?limit=1"), ("OPTIONS", "/songs"), ("GET", "/nowhere")):
        reply = await world.ask(head(method, path, *lines, host="evil.example"))
        assert "access-control-allow-origin" not in reply.headers
        assert "evil" not in str(reply.headers)
        assert b"evil" not in reply.body


async def quickly_refused(world: World) -> None:
    """Declare a large body: it is refused within 200 ms, and the connection closed."""
    seconds = []
    for _ in range(5):
        request = head("POST", "/songs", JSON, "Content-Length: 104857600")
        reply = expect(await world.ask(request), 413)
        assert reply.headers["connection"] == "close"
        seconds.append(reply.seconds)
    assert min(seconds) < world.bounds.at_once, seconds


SEQUENCES: list[Callable[[World], Awaitable[None]]] = [
    pipelined, half_closed, reset, byte_by_byte, expected, hidden, trailing, replayed, at_once,
    deleted, ended_tokens, forbidden, guessed, documented, paged, crossing, quickly_refused,
]  # fmt: skip
