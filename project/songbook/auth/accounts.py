"""Accounts: what the table `users` says of whoever signs in or sends a token."""

from functools import cache
from typing import Literal

from sqlalchemy import bindparam, func, select
from sqlmodel import Field, SQLModel

from songbook.db.statements import Query, Statement

Key = Literal["id", "email", "username"]

_COLUMNS = (
    *("id", "version", "email", "hashed_password", "is_active", "is_superuser"),
    *("created_at", "credentials_changed_at"),
)


class GivenUpEmail(SQLModel, table=True):
    """That somebody had an e-mail once: triggers of the table `users` write and read it.

    The key is a hash: no address is kept.
    """

    __tablename__ = "given_up_email"

    key: bytes = Field(primary_key=True)


def account(by: Key, value: int | str, *, settled: bool = False) -> Query:
    """Read an account by a unique value, a text in any case.

    Its row has also the time of the database's clock when it was read, as `now`. A `settled` one
    waits for a change that is on its way, so that what is read holds at that time.
    """
    return _account(by, settled=settled).of({"value": value})


@cache
def _account(by: Key, *, settled: bool) -> Statement:
    users = SQLModel.metadata.tables["users"].c
    key, value = users[by], bindparam("value", type_=users[by].type)
    same = key == value if by == "id" else func.lower(key) == func.lower(value)
    columns = [users[name] for name in _COLUMNS]
    query = select(*columns, func.clock_timestamp().label("now")).where(same)
    return Statement(query.with_for_update(read=True) if settled else query)
