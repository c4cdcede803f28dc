"""The table of idempotency keys, and what is asked of it."""

from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
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

from songbook.db import Statement


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


def keys_table() -> Table:
    """Return the table of the keys."""
    return SQLModel.metadata.tables[IdempotencyKey.__tablename__]


def _is_of_key() -> list[ColumnElement[bool]]:
    table = keys_table()
    return [column == bindparam(column.name, type_=column.type) for column in table.primary_key]


@cache
def claim() -> Statement:
    """Take a key: there is a row unless it is taken."""
    table = keys_table()
    names = ("principal", "key", "fingerprint")
    new = insert(table).values({name: bindparam(name) for name in names})
    return Statement(new.on_conflict_do_nothing().returning(text("true")))


@cache
def lookup() -> Statement:
    """Find what was answered."""
    table = keys_table()
    columns = (table.c.fingerprint, table.c.status, table.c.headers, table.c.body)
    return Statement(select(*columns).where(*_is_of_key()))


@cache
def store() -> Statement:
    """Store what is answered."""
    values: dict[str, Any] = {name: bindparam(name) for name in ("status", "headers", "body")}
    return Statement(update(keys_table()).where(*_is_of_key()).values(values))
