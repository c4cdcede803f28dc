"""Accounts: the columns and statements of the users that sign in."""

import logging
import time
from datetime import datetime
from functools import cache
from typing import Literal

import asyncpg
from sqlalchemy import bindparam, func, inspect, select, text, true, update
from sqlmodel import Field, SQLModel

from songbook.db import BoundStatement, CompiledStatement, Use
from songbook.logs import Event
from songbook.models import Owner

logger = logging.getLogger(__name__)

_CLOCK_SECONDS = 5
"""How far the clock of the process may be from that of the database before the log says so."""

LookupField = Literal["id", "email", "username"]

_COLUMNS = (
    *("id", "version", "email", "hashed_password", "is_active", "is_superuser"),
    *("created_at", "credentials_changed_at"),
)


class Account(Owner):
    """The columns of a table of accounts, which also needs `username` and `email`, both unique.

    When the password or e-mail changes or the account is deactivated, a trigger of the table sets
    `credentials_changed_at`, which invalidates older tokens; not while `songbook.rehash` is `on`.
    """

    hashed_password: str = Field(max_length=255)
    is_superuser: bool = Field(sa_column_kwargs={"server_default": text("false")})
    is_active: bool = Field(sa_column_kwargs={"server_default": text("true")})
    created_at: datetime = Field(sa_column_kwargs={"server_default": func.clock_timestamp()})
    credentials_changed_at: datetime | None = None


def check_accounts(model: type[SQLModel]) -> None:
    """Raise TypeError for a class that is no table or lacks a column of accounts."""
    if not hasattr(model, "__table__"):
        raise TypeError(f"{model.__name__} is not a table: declare it with table=True")
    if missing := [name for name in (*_COLUMNS, "username") if name not in inspect(model).columns]:
        raise TypeError(f"{model.__name__} lacks the columns {', '.join(missing)} of an account")


def find_account(
    model: type[SQLModel], by: LookupField, value: int | str, *, for_share: bool = False
) -> BoundStatement:
    """Select an account by a unique value, ignoring case, and `now`, the database's time."""
    return _find(model, by, for_share=for_share).bind({"value": value})


def read_clock(account: asyncpg.Record) -> float:
    """Return the database's time when the account was read, in seconds since 1970.

    Only this clock writes and reads tokens; the log tells that of the process if it differs.
    """
    now: float = account["now"].timestamp()
    ahead = time.time() - now
    if not -_CLOCK_SECONDS < ahead < _CLOCK_SECONDS:
        text = "The clock of this process differs from the database's"
        logger.warning(Event(text, seconds_ahead=round(ahead)))
    return now


def rehash_account(model: type[SQLModel], id: int, old: str, new: str) -> BoundStatement:
    """Replace a hash by a better one of the same password; tokens stay valid."""
    columns = inspect(model).columns
    rehash = func.set_config("songbook.rehash", "on", true()) == "on"  # read by the trigger
    change = update(model).where(columns.id == id, columns.hashed_password == old, rehash)
    return CompiledStatement(change.values(hashed_password=new), use=Use.WRITE).bind({})


@cache
def _find(model: type[SQLModel], by: LookupField, *, for_share: bool) -> CompiledStatement:
    columns = inspect(model).columns
    key, value = columns[by], bindparam("value", type_=columns[by].type)
    same = key == value if by == "id" else func.lower(key) == func.lower(value)
    shown = [columns[name] for name in _COLUMNS]
    statement = select(*shown, func.clock_timestamp().label("now")).where(same)
    if for_share:
        return CompiledStatement(statement.with_for_update(read=True), use=Use.WRITE)
    return CompiledStatement(statement, use=Use.ROW)
