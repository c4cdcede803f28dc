"""The limit for Python: a bare ASGI callable on asyncpg's pool, JSON written by PostgreSQL."""

import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import asyncpg

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

LIST = """
    SELECT '[' || coalesce(string_agg(row_to_json(page)::text, ','), '') || ']'
    FROM (SELECT id, name, artist, year FROM song ORDER BY id LIMIT 100) AS page
"""
READ = """
    SELECT row_to_json(found)::text
    FROM (SELECT id, name, artist, year FROM song WHERE id = $1) AS found
"""
CREATE = """
    WITH stored AS (
        INSERT INTO song (name, artist, year) VALUES ($1, $2, $3)
        RETURNING id, name, artist, year
    )
    SELECT row_to_json(stored)::text FROM stored
"""
UPDATE = """
    WITH changed AS (
        UPDATE song
        SET name = coalesce($2, name), artist = coalesce($3, artist),
            year = CASE WHEN $4 THEN $5 ELSE year END
        WHERE id = $1
        RETURNING id, name, artist, year
    )
    SELECT row_to_json(changed)::text FROM changed
"""
NOT_FOUND = '{"detail":"Not Found"}'
NOT_ALLOWED = '{"detail":"Method Not Allowed"}'
REFUSED = '{"detail":"name and artist are texts of at most 255 characters, year is a year or null"}'


class Database:
    """Where asyncpg's own pool stands from the start of the server to its end."""

    pool: asyncpg.Pool


async def keep(_: asyncpg.Connection) -> None:
    """Give a connection back as it is: no statement here changes its state."""


async def lifespan(receive: Receive, send: Send) -> None:
    """Open the pool before the first request, and close it after the last."""
    await receive()
    size = int(os.environ.get("POOL_SIZE", "10"))
    url = os.environ["DATABASE_URL"].replace("postgresql+asyncpg:", "postgresql:", 1)
    Database.pool = await asyncpg.create_pool(
        url, min_size=size, max_size=size, max_inactive_connection_lifetime=0, reset=keep
    )
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await Database.pool.close()
    await send({"type": "lifespan.shutdown.complete"})


def number(digits: str) -> int | None:
    """Read an id, which is a bigint."""
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 19 else None


def text(value: object) -> bool:
    """Tell whether a column would take this as a name."""
    return isinstance(value, str) and len(value) <= 255 and "\0" not in value


def song(body: bytes) -> dict[str, Any] | None:
    """Read the fields of a song, unless one of them is not what it should be."""
    try:
        fields = json.loads(body)
    except ValueError:
        return None
    if not isinstance(fields, dict):
        return None
    year = fields.get("year")
    names = all(text(fields[key]) for key in ("name", "artist") if key in fields)
    return fields if names and (year is None or (type(year) is int and 0 < year < 10000)) else None


async def read_body(receive: Receive) -> bytes:
    """Read the whole body of a request."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def create(receive: Receive) -> tuple[int, str]:
    """Store a song."""
    fields = song(await read_body(receive))
    if fields is None or "name" not in fields or "artist" not in fields:
        return 422, REFUSED
    values = fields["name"], fields["artist"], fields.get("year")
    return 201, await Database.pool.fetchval(CREATE, *values)


async def update(id_: int, receive: Receive) -> tuple[int, str]:
    """Change some fields of a song."""
    fields = song(await read_body(receive))
    if fields is None:
        return 422, REFUSED
    values = fields.get("name"), fields.get("artist"), "year" in fields, fields.get("year")
    changed = await Database.pool.fetchval(UPDATE, id_, *values)
    return (200, changed) if changed else (404, NOT_FOUND)


async def read(id_: int) -> tuple[int, str]:
    """Show one song."""
    found = await Database.pool.fetchval(READ, id_)
    return (200, found) if found else (404, NOT_FOUND)


async def answer(method: str, path: str, receive: Receive) -> tuple[int, str]:
    """Find out what a request asks for, and do it."""
    if path == "/songs":
        if method == "GET":
            return 200, await Database.pool.fetchval(LIST)
        return await create(receive) if method == "POST" else (405, NOT_ALLOWED)
    id_ = number(path.removeprefix("/songs/"))
    if id_ is None:
        return 404, NOT_FOUND
    if method == "GET":
        return await read(id_)
    return await update(id_, receive) if method == "PATCH" else (405, NOT_ALLOWED)


async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    """Answer one request."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    status, written = await answer(scope["method"], scope["path"], receive)
    body = written.encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
