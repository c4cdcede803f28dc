"""The table of idempotency keys, and its statements."""

from datetime import datetime

from sqlalchemy import BigInteger, SmallInteger, Table, bindparam, func, select, text, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlmodel import Field, SQLModel

from songbook.db import CompiledStatement, Use

_RESPONSE = ("status", "headers", "body")


class StoredKey(SQLModel, table=True):
    """The response to a request with a key, committed together with it.

    The key is hashed, and the fingerprint is an HMAC under the client's key, so that nobody can
    guess a body, such as one with a password, from the table.
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
"""Insert a key; without a row it is there already."""

LOOKUP = CompiledStatement(
    select(KEYS.c.fingerprint, *(KEYS.c[name] for name in _RESPONSE)).where(*_IS_KEY),
    use=Use.ROW,
)
"""Select the stored response."""

STORE = CompiledStatement(
    update(KEYS).where(*_IS_KEY).values({name: bindparam(name) for name in _RESPONSE})
)
"""Store the response."""
