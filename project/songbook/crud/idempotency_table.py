"""The table of idempotency keys, and what is asked of it."""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    SmallInteger,
    Table,
    bindparam,
    func,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlmodel import Field, SQLModel

from songbook.db import CompiledStatement

_RESPONSE = ("status", "headers", "body")


class StoredKey(SQLModel, table=True):
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


KEYS: Table = StoredKey.__table__  # type: ignore[attr-defined]

_IS_KEY = [column == bindparam(column.name, type_=column.type) for column in KEYS.primary_key]

CLAIM = CompiledStatement(
    insert(KEYS)
    .values({name: bindparam(name) for name in ("principal", "key", "fingerprint")})
    .on_conflict_do_nothing()
    .returning(text("true"))
)
"""Take a key: there is a row unless it is taken."""

LOOKUP = CompiledStatement(
    select(KEYS.c.fingerprint, *(KEYS.c[name] for name in _RESPONSE)).where(*_IS_KEY)
)
"""Read the response that is stored."""

STORE = CompiledStatement(
    update(KEYS).where(*_IS_KEY).values({name: bindparam(name) for name in _RESPONSE})
)
"""Store the response."""
