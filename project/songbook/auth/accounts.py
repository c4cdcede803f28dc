"""Accounts: the columns and statements of the users that sign in."""

import logging
import time
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import ClassVar, Literal

import asyncpg
from sqlalchemy import ARRAY, bindparam, func, inspect, select, text, true, update
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
    If the table has a column `permissions: list[str]`, a login puts them into the token.
    """

    principal_columns: ClassVar[tuple[str, ...]] = ()
    """Other columns that permissions read from `user.columns`, such as a role."""

    hashed_password: str = Field(max_length=255)
    is_superuser: bool = Field(sa_column_kwargs={"server_default": text("false")})
    is_active: bool = Field(sa_column_kwargs={"server_default": text("true")})
    created_at: datetime = Field(sa_column_kwargs={"server_default": func.clock_timestamp()})
    credentials_changed_at: datetime | None = None


def check_accounts(model: type[SQLModel]) -> None:
    """Raise TypeError for a class that is no table, or lacks a column or has another type of it."""
    if not hasattr(model, "__table__"):
        raise TypeError(f"{model.__name__} is not a table: declare it with table=True")
    columns, needed = inspect(model).columns, (*_COLUMNS, *_own_names(model), "username")
    if missing := [name for name in needed if name not in columns]:
        raise TypeError(f"{model.__name__} lacks the columns {', '.join(missing)} of an account")
    if "permissions" in columns and not isinstance(columns.permissions.type, ARRAY):
        raise TypeError(f"{model.__name__}.permissions is not a list[str]")


def own_columns(model: type[SQLModel], account: asyncpg.Record) -> Mapping[str, object]:
    """Return the `principal_columns` of an account."""
    return {name: account[name] for name in names} if (names := _own_names(model)) else {}


def _own_names(model: type[SQLModel]) -> tuple[str, ...]:
    return model.principal_columns if issubclass(model, Account) else ()


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
    names = {*_COLUMNS, *_own_names(model)} | {"permissions"} & {*columns.keys()}
    shown = [columns[name] for name in sorted(names)]
    statement = select(*shown, func.clock_timestamp().label("now")).where(same)
    if for_share:
        return CompiledStatement(statement.with_for_update(read=True), use=Use.WRITE)
    return CompiledStatement(statement, use=Use.ROW)
