"""Idempotency keys: a request that is sent again is answered again, and done once.

https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
"""

import asyncio
import hmac
import re
from hashlib import sha256

import asyncpg
from starlette.requests import Request
from starlette.responses import Response

from songbook.crud.idempotency_table import CLAIM, LOOKUP, STORE
from songbook.db import BoundStatement, Database
from songbook.errors import BadRequest, IdempotencyKeyInUse, IdempotencyKeyReused, field_error
from songbook.http import StrictRequest, media_type_of

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
NOBODY = 0
"""The principal of all requests that do not have to say who sends them."""

WAIT_SECONDS = 1.0
"""How long a request waits for another one with its key."""

IDEMPOTENCY_KEY = {
    "name": HEADER,
    "in": "header",
    "description": "A key that no other request has, as a UUID: sent again with it, the same"
    " request is not done again but answered again.",
    "schema": {"type": "string", "pattern": r'^("[!#-\[\]-~]{1,255}"|[!#-+\--~]{1,255})$'},
    "example": '"8e03978e-40d5-43dd-bc93-6894a57f9324"',
}

# RFC 9651, section 3.3.3: a String, of visible characters; or the bare key, as many send it
_STRING = re.compile(r'"((?:[!#-\[\]-~]|\\["\\])+)"')
_BARE = re.compile(r"[!#-+\--~]+")
_LONGEST = 255
_NOT_STORED = {b"content-length"}  # Starlette writes it anew


class IdempotencyKey:
    """The key of one request: its sender's, and bound to the request."""

    def __init__(self, given: str, request: StrictRequest) -> None:
        self._given = given.encode()
        self._request = request
        principal = request.principal.id if request.principal else NOBODY
        key = sha256(self._given).digest()
        self._place = {"principal": principal, "key": key}
        # requests of this process that have the key take no connection to wait
        self._lock = request.service.key_locks.setdefault((principal, key), asyncio.Lock())
        self._is_locked = False

    async def lock(self) -> None:
        """Wait, without a connection, until no other request of this process has the key.

        The body is read, too. Raises IdempotencyKeyInUse after a second.
        """
        await self._request.digest()
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._lock.acquire()
        except TimeoutError:
            raise IdempotencyKeyInUse from None
        self._is_locked = True

    def unlock(self) -> None:
        """Let the next request of this process have the key."""
        if self._is_locked:
            self._lock.release()
            self._is_locked = False

    async def claim(self, db: Database, connection: asyncpg.Connection) -> Response | None:
        """Take the key for this transaction; return the answer that is stored, if it was taken.

        While a transaction of another process holds it, this waits for the lock_timeout, and raises
        IdempotencyKeyInUse; it raises IdempotencyKeyReused if the key is that of another request.
        """
        values = {**self._place, "fingerprint": await self._fingerprint()}
        try:
            if await db.fetch_on(connection, CLAIM.bind(values)):
                return None
        except asyncpg.LockNotAvailableError:
            raise IdempotencyKeyInUse from None
        if answer := await self._answer(await db.fetch_on(connection, self._found)):
            return answer
        raise IdempotencyKeyInUse  # it was removed between the two statements

    async def lookup(self, db: Database) -> Response | None:
        """Return the answer that is stored, if there is one; none if a part of the body is gone.

        Raises IdempotencyKeyReused as `claim` does.
        """
        if not self._request.can_be_read:
            return None
        return await self._answer(await db.fetch(self._found))

    async def store(self, db: Database, connection: asyncpg.Connection, answer: Response) -> None:
        """Store an answer in the transaction that has the key."""
        headers = {
            name.decode(): value.decode()
            for name, value in answer.raw_headers
            if name not in _NOT_STORED
        }
        values = {"status": answer.status_code, "headers": headers, "body": bytes(answer.body)}
        await db.fetch_on(connection, STORE.bind({**values, **self._place}))

    @property
    def _found(self) -> BoundStatement:
        return LOOKUP.bind(self._place)

    async def _answer(self, row: asyncpg.Record | None) -> Response | None:
        if row is None:
            return None
        if row["fingerprint"] != await self._fingerprint():
            detail = "Was sent with another request"
            raise IdempotencyKeyReused(errors=[field_error("header", HEADER, detail, "key_reused")])
        if row["status"] is None:  # a handler has committed by itself, before its response
            raise IdempotencyKeyInUse
        headers = {**row["headers"], REPLAYED: "true"}
        return Response(row["body"], row["status"], headers)

    async def _fingerprint(self) -> bytes:
        """Return what no other request has: of its method, its address, and its body as what."""
        scope = self._request.scope
        path = self._request.route.path.format(**self._request.path_params)
        parts = (
            scope["method"].encode(),
            path.encode(),
            scope["query_string"],
            media_type_of(self._request).encode(),
            await self._request.digest(),
        )
        return hmac.digest(self._given, b"\0".join(parts), "sha256")


def read_key(request: Request) -> str | None:
    """Return the key of a request, None if it has none; raise BadRequest if it is none."""
    lines = request.headers.getlist(HEADER)
    if not lines:
        return None
    if len(lines) == 1:
        if match := _STRING.fullmatch(lines[0]):
            found = re.sub(r"\\(.)", r"\1", match[1])
            if len(found) <= _LONGEST:
                return found
        elif _BARE.fullmatch(lines[0]) and len(lines[0]) <= _LONGEST:
            return lines[0]
    detail = f"Should be one string of 1 to {_LONGEST} visible ASCII characters"
    raise BadRequest(errors=[field_error("header", HEADER, detail, "idempotency_key")])
