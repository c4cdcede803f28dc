"""Idempotency keys: a request that is sent again is answered again, and done once.

https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
"""

import hmac
import re
from datetime import datetime
from functools import cache
from hashlib import sha256
from typing import Any

import asyncpg
from sqlalchemy import (
    BigInteger,
    LargeBinary,
    SmallInteger,
    bindparam,
    func,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlmodel import Field, SQLModel
from starlette.requests import Request
from starlette.responses import Response

from app.bodies import StrictRequest
from app.compiled import Statement
from app.db import Database, Query
from app.field_errors import field_error
from app.problems import KeyInUse, KeyReused, Malformed

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
NOBODY = 0
"""The principal of all requests that do not have to say who sends them."""

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


class IdempotencyKey(SQLModel, table=True):
    """What was answered to a request with a key: until it is, nobody else sees the row.

    The key is a hash of the client's. The fingerprint is keyed by the client's: without it nobody
    can try which body it is of, as that of a password.
    """

    __tablename__ = "idempotency"

    principal: int = Field(
        primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False}
    )
    key: bytes = Field(primary_key=True)
    fingerprint: bytes
    status: int | None = Field(default=None, sa_type=SmallInteger)
    headers: dict[str, str] | None = Field(default=None, sa_type=JSONB)
    body: bytes | None = None
    created_at: datetime = Field(index=True, sa_column_kwargs={"server_default": func.now()})


class Key:
    """The key of one request: its sender's, and bound to the request."""

    def __init__(self, given: str, request: StrictRequest) -> None:
        self._given = given.encode()
        self._request = request
        user = request.scope.get("user")  # whom the rule of the route asked for, if it did
        self._place = {
            "principal": NOBODY if user is None else user.id,
            "key": sha256(self._given).digest(),
        }

    async def claim(self, db: Database, driver: asyncpg.Connection) -> Response | None:
        """Take the key for this transaction; return the answer that is stored, if it was taken.

        While another transaction holds it, this waits for the lock_timeout, and raises KeyInUse;
        it raises KeyReused if the key is that of another request.
        """
        fingerprint = await self._fingerprint()
        claim = _claim().of({**self._place, "fingerprint": fingerprint})
        try:
            if await db.run(driver, claim):
                return None
        except asyncpg.LockNotAvailableError:
            raise KeyInUse from None
        if answer := await self._answer(await db.run(driver, self._found)):
            return answer
        raise KeyInUse  # it was removed between the two statements

    async def find(self, db: Database) -> Response | None:
        """Return the answer that is stored, if there is one; raise KeyReused as `claim` does."""
        return await self._answer(await db.fetch(self._found))

    async def keep(self, db: Database, driver: asyncpg.Connection, answer: Response) -> None:
        """Store an answer in the transaction that has the key."""
        headers = {
            name.decode(): value.decode()
            for name, value in answer.raw_headers
            if name not in _NOT_STORED
        }
        values = {"status": answer.status_code, "headers": headers, "body": bytes(answer.body)}
        await db.run(driver, _keep().of({**values, **self._place}))

    @property
    def _found(self) -> Query:
        return _find().of(self._place)

    async def _answer(self, row: asyncpg.Record | None) -> Response | None:
        if row is None:
            return None
        if row["fingerprint"] != await self._fingerprint():
            detail = "Was sent with another request"
            raise KeyReused(errors=[field_error("header", HEADER, detail, "key_reused")])
        headers = {**row["headers"], REPLAYED: "true"}
        return Response(row["body"], row["status"], headers)

    async def _fingerprint(self) -> bytes:
        """Return what no other request has: of its method, its address and its body."""
        scope = self._request.scope
        path = scope["route"].canonical.format(**self._request.path_params)
        parts = (
            scope["method"].encode(),
            path.encode(),
            scope["query_string"],
            await self._request.digest(),
        )
        return hmac.digest(self._given, b"\0".join(parts), "sha256")


def read_key(request: Request) -> str | None:
    """Return the key of a request, None if it has none; raise Malformed if it is none."""
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
    raise Malformed(errors=[field_error("header", HEADER, detail, "idempotency_key")])


def _same() -> Any:
    table = SQLModel.metadata.tables[IdempotencyKey.__tablename__]
    return table, (
        table.c.principal == bindparam("principal", type_=BigInteger),
        table.c.key == bindparam("key", type_=LargeBinary),
    )


@cache
def _claim() -> Statement:
    table, _ = _same()
    names = ("principal", "key", "fingerprint")
    new = insert(table).values({name: bindparam(name) for name in names})
    return Statement(new.on_conflict_do_nothing().returning(text("true")))


@cache
def _find() -> Statement:
    table, same = _same()
    columns = (table.c.fingerprint, table.c.status, table.c.headers, table.c.body)
    return Statement(select(*columns).where(*same))


@cache
def _keep() -> Statement:
    table, same = _same()
    names = ("status", "headers", "body")
    return Statement(update(table).where(*same).values({n: bindparam(n) for n in names}))
