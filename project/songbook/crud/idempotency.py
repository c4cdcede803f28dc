"""The Idempotency-Key header (https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/)."""

import asyncio
import hmac
import re
from functools import cached_property
from hashlib import sha256
from typing import Any

import asyncpg
from starlette.responses import Response

from songbook.crud.idempotency_table import CLAIM, LOOKUP, STORE
from songbook.db import BoundStatement, Database
from songbook.errors import BadRequest, IdempotencyKeyInUse, IdempotencyKeyReused, field_error
from songbook.http import StrictRequest, media_type_of
from songbook.metrics import Counter

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
ANONYMOUS = 0
"""The principal of all requests without a user."""

WAIT_SECONDS = 1.0
"""How long a request waits for another one with the same key."""

IDEMPOTENCY_KEY = {
    "name": HEADER,
    "in": "header",
    "description": "A unique key, such as a UUID: a retry with it gets the stored response.",
    "schema": {
        "type": "string",
        "pattern": r'^("[!#-\[\]-~]{1,255}"|[!#-+\--~]{1,255})$',
        "maxLength": 257,
    },
}
"""The parameter. With an example, its second sender would get the response of the first."""

# RFC 9651, section 3.3.3: a String of visible characters; or the bare key, which is common
_STRING = re.compile(r'"((?:[!#-\[\]-~]|\\["\\])+)"')
_BARE = re.compile(r"[!#-+\--~]+")
_MAX_KEY = 255
_KEYED = Counter(
    "songbook_idempotency_requests_total",
    "Requests whose Idempotency-Key was new, or whose stored response was sent again.",
    ("outcome",),
)
_NOT_STORED = {b"content-length"}  # Starlette sets it


class IdempotencyKey:
    """The idempotency key of a request, in the namespace of its user."""

    def __init__(self, key: str, request: StrictRequest) -> None:
        self._key = key.encode()
        self._request = request
        self._is_locked = False

    @cached_property
    def _primary_key(self) -> dict[str, Any]:
        """The values of the primary key, whose user a later dependency may be the one to read."""
        principal = self._request.principal
        return {
            "principal": principal.id if principal else ANONYMOUS,
            "key": sha256(self._key).digest(),
        }

    @cached_property
    def _lock(self) -> asyncio.Lock:
        """The lock by which requests of a process wait for each other without a connection."""
        principal, key = self._primary_key.values()
        return self._request.service.key_locks.setdefault((principal, key), asyncio.Lock())

    async def lock(self) -> None:
        """Read the body and lock the key in this process. Raises IdempotencyKeyInUse after 1 s."""
        await self._request.digest()
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._lock.acquire()
        except TimeoutError:
            raise IdempotencyKeyInUse from None
        self._is_locked = True

    def unlock(self) -> None:
        """Release the lock of this process."""
        if self._is_locked:
            self._lock.release()
            self._is_locked = False

    async def claim(self, db: Database, connection: asyncpg.Connection) -> Response | None:
        """Insert the key in this transaction, or return the response that is stored under it.

        Raises IdempotencyKeyInUse if another process holds it for longer than the lock_timeout, and
        IdempotencyKeyReused if it belongs to another request.
        """
        values = {**self._primary_key, "fingerprint": await self._fingerprint()}
        try:
            if await db.fetch_on(connection, CLAIM.bind(values)):
                _KEYED.inc("first")
                return None
        except asyncpg.LockNotAvailableError:
            raise IdempotencyKeyInUse from None
        if response := await self._replay(await db.fetch_on(connection, self._lookup_statement)):
            return response
        raise IdempotencyKeyInUse  # the row was deleted between the two statements

    async def lookup(self, db: Database) -> Response | None:
        """Return the stored response, if any. Raises IdempotencyKeyReused."""
        if not self._request.can_be_read:  # without its digest the request cannot be compared
            return None
        return await self._replay(await db.fetch(self._lookup_statement))

    async def store(self, db: Database, connection: asyncpg.Connection, response: Response) -> None:
        """Store the response in the transaction that claimed the key."""
        headers = {
            name.decode(): value.decode()
            for name, value in response.raw_headers
            if name not in _NOT_STORED
        }
        values = {"status": response.status_code, "headers": headers, "body": bytes(response.body)}
        await db.fetch_on(connection, STORE.bind({**values, **self._primary_key}))

    @property
    def _lookup_statement(self) -> BoundStatement:
        return LOOKUP.bind(self._primary_key)

    async def _replay(self, row: asyncpg.Record | None) -> Response | None:
        if row is None:
            return None
        if row["fingerprint"] != await self._fingerprint():
            detail = "Was used for another request"
            raise IdempotencyKeyReused(errors=[field_error("header", HEADER, detail, "key_reused")])
        if row["status"] is None:  # a handler has committed by itself, before its response
            raise IdempotencyKeyInUse
        _KEYED.inc("replayed")
        headers = {**row["headers"], REPLAYED: "true"}
        return Response(row["body"], row["status"], headers)

    async def _fingerprint(self) -> bytes:
        """Return a digest of the method, the path, the query string and the body."""
        scope = self._request.scope
        path = self._request.route.path.format(**self._request.path_params)
        parts = (
            scope["method"].encode(),
            path.encode(),
            scope["query_string"],
            media_type_of(self._request).encode(),
            await self._request.digest(),
        )
        return hmac.digest(self._key, b"\0".join(parts), "sha256")


def read_key(request: StrictRequest) -> IdempotencyKey | None:
    """Return the key of a request, None without the header. Raises BadRequest if malformed."""
    lines = request.headers.getlist(HEADER)
    if not lines:
        return None
    if len(lines) == 1:
        if match := _STRING.fullmatch(lines[0]):
            key = re.sub(r"\\(.)", r"\1", match[1])
            if len(key) <= _MAX_KEY:
                return IdempotencyKey(key, request)
        elif _BARE.fullmatch(lines[0]) and len(lines[0]) <= _MAX_KEY:
            return IdempotencyKey(lines[0], request)
    detail = f"Should be one string of 1 to {_MAX_KEY} visible ASCII characters"
    raise BadRequest(errors=[field_error("header", HEADER, detail, "idempotency_key")])
