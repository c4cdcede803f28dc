"""Accounts: the rows that sign in and that tokens stand for."""

from datetime import datetime
from functools import cache
from typing import Literal

from sqlalchemy import bindparam, func, inspect, select, text, true, update
from sqlmodel import Field, SQLModel

from songbook.db import BoundStatement, CompiledStatement

LookupField = Literal["id", "email", "username"]

_COLUMNS = (
    *("id", "version", "email", "hashed_password", "is_active", "is_superuser"),
    *("created_at", "credentials_changed_at"),
)


class Account(SQLModel):
    """The columns that a table of accounts needs beside `username` and `email`.

    Those two have to be unique in any case.

    A trigger of the table sets `credentials_changed_at` when the password or the e-mail changes, or
    the account is deactivated: older tokens are good no more. It leaves alone a change during which
    the setting `songbook.rehash` is `on`: a better hash of the same password.
    """

    hashed_password: str = Field(max_length=255)
    is_superuser: bool = Field(sa_column_kwargs={"server_default": text("false")})
    is_active: bool = Field(sa_column_kwargs={"server_default": text("true")})
    created_at: datetime = Field(sa_column_kwargs={"server_default": func.clock_timestamp()})
    credentials_changed_at: datetime | None = None


def check_accounts(model: type[SQLModel]) -> None:
    """Raise TypeError for a class that is no table, or lacks a column that accounts need."""
    if not hasattr(model, "__table__"):
        raise TypeError(f"{model.__name__} is no table: declare it with table=True")
    if missing := [name for name in (*_COLUMNS, "username") if name not in inspect(model).columns]:
        raise TypeError(f"{model.__name__} lacks {', '.join(missing)}, which accounts need")


def find_account(
    model: type[SQLModel], by: LookupField, value: int | str, *, for_share: bool = False
) -> BoundStatement:
    """Read an account by a unique value, a text in any case.

    Its row has also the time of the database's clock when it was read, as `now`. With `for_share`
    it waits for a change that is under way, so that what is read holds at that time.
    """
    return _find(model, by, for_share=for_share).bind({"value": value})


def rehash_account(model: type[SQLModel], id: int, old: str, new: str) -> BoundStatement:
    """Store a better hash of the same password, unless there is another password meanwhile.

    Nothing changes that anyone sees, and no token ends.
    """
    columns = inspect(model).columns
    told = func.set_config("songbook.rehash", "on", true()) == "on"  # to the trigger
    change = update(model).where(columns.id == id, columns.hashed_password == old, told)
    return CompiledStatement(change.values(hashed_password=new)).bind({})


@cache
def _find(model: type[SQLModel], by: LookupField, *, for_share: bool) -> CompiledStatement:
    columns = inspect(model).columns
    key, value = columns[by], bindparam("value", type_=columns[by].type)
    same = key == value if by == "id" else func.lower(key) == func.lower(value)
    shown = [columns[name] for name in _COLUMNS]
    query = select(*shown, func.clock_timestamp().label("now")).where(same)
    return CompiledStatement(query.with_for_update(read=True) if for_share else query)
