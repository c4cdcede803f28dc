"""The rate limit of logins: tries counted in PostgreSQL, so that all workers know of them.

A window begins with the first try of its kind and is over after a fixed time; then the count begins
anew. What is counted is an address, or a name as it is tried from an address, so that nobody can
lock out another user from elsewhere.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from sqlalchemy import (
    CTE,
    BindParameter,
    ColumnElement,
    DateTime,
    Integer,
    Interval,
    LargeBinary,
    Table,
    all_,
    bindparam,
    case,
    cast,
    column,
    delete,
    exists,
    func,
    select,
    text,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlmodel import Field, SQLModel

from songbook.db import Database, Statement
from songbook.errors import TooManyRequests

_NOWHERE = "nowhere"
_SWEPT_AT_ONCE = 10


class LoginTries(SQLModel, table=True):
    """How many logins of one kind were tried since its window began.

    The key is a hash: no address and no name is stored. After a crash of PostgreSQL the table is
    empty, which costs an attacker nothing and us a write-ahead log for every try.
    """

    __tablename__ = "login_tries"
    __table_args__ = {"prefixes": ["UNLOGGED"]}

    key: bytes = Field(primary_key=True)
    tries: int = Field(default=None, sa_column_kwargs={"server_default": text("1")})
    since: datetime = Field(
        default=None,
        index=True,
        sa_type=DateTime(timezone=True),
        sa_column_kwargs={"server_default": text("now()")},
    )


def login_keys(
    address: str | None, name: str, *, per_address: int, per_name: int
) -> dict[str, int]:
    """Return what a login counts as, each with its limit.

    An IPv6 address counts as its /64, which is what one customer has; what is no address, as that
    of a Unix socket, counts as one and the same.
    """
    place = _place(address)
    return {place: per_address, f"{place} {name.strip().casefold()}": per_name}


async def count_try(db: Database, keys: Mapping[str, int], window: timedelta) -> None:
    """Count a try for each of the keys, and raise TooManyRequests if it is beyond a key's limit.

    `Retry-After` says in how many seconds the last of the exceeded windows ends. A try that comes
    when a limit is already reached is not counted: it writes nothing and waits for nobody. Raises
    Unavailable when no connection is to be had, and asyncpg's errors as they are.
    """
    values = {
        "keys": [sha256(key.encode(errors="surrogatepass")).digest() for key in keys],
        "allowed": list(keys.values()),
        "window": window,
    }
    row = await db.fetch(_counting().of(values))
    assert row is not None
    if row["seconds"] is not None:
        seconds = max(1, row["seconds"])
        detail = f"Too many logins: try again in {-(-seconds // 60)} minutes."
        raise TooManyRequests(detail, headers={"Retry-After": str(seconds)})


def _place(address: str | None) -> str:
    try:
        found = ip_address(address or "")
    except ValueError:
        return _NOWHERE
    if isinstance(found, IPv4Address):
        return str(found)
    return str(found.ipv4_mapped or IPv6Address(int(found) >> 64 << 64))


@cache
def _counting() -> Statement:
    """Return the statement that counts a try; its row has the seconds to wait, or null."""
    tries: Table = LoginTries.__table__  # type: ignore[attr-defined]
    asked = _asked()
    reached = _reached(tries, asked)
    counted = _counted(tries, asked, reached)
    exceeded = (
        select(counted.c.since)
        .join(asked, counted.c.key == asked.c.key)
        .where(counted.c.tries > asked.c.allowed)
    )
    since = union_all(select(reached.c.since), exceeded).subquery("exceeded").c.since
    left = func.ceil(func.extract("epoch", func.max(since) + _window() - func.now()))
    return Statement(select(cast(left, Integer).label("seconds")).add_cte(_swept(tries, counted)))


def _asked() -> CTE:
    """Give the keys and their limits as rows."""
    rows = func.unnest(_keys(), bindparam("allowed", type_=ARRAY(Integer)))
    named = rows.table_valued(column("key", LargeBinary), column("allowed", Integer))
    return select(named.render_derived()).cte("asked")


def _reached(tries: Table, asked: CTE) -> CTE:
    """Find the windows whose limit is reached.

    Each key is looked up by itself: with a join, as long as a growing table is not analyzed,
    PostgreSQL reads all of it.
    """
    known = select(tries).where(tries.c.key == asked.c.key).limit(1).lateral("known")
    return (
        select(known.c.since)
        .select_from(asked.join(known, true()))
        .where(known.c.tries >= asked.c.allowed, ~_is_over(known.c.since))
        .cte("reached")
    )


def _counted(tries: Table, asked: CTE, reached: CTE) -> CTE:
    """Count the try, in the order of the keys: of two logins only one waits for the other."""
    over = _is_over(tries.c.since)
    keys = select(asked.c.key).where(~exists(select(reached.c.since))).order_by(asked.c.key)
    return (
        insert(tries)
        .from_select([tries.c.key], keys)
        .on_conflict_do_update(
            index_elements=[tries.c.key],
            set_={
                tries.c.tries: case((over, text("1")), else_=tries.c.tries + text("1")),
                tries.c.since: case((over, func.now()), else_=tries.c.since),
            },
        )
        .returning(tries.c.key, tries.c.tries, tries.c.since)
        .cte("counted")
    )


def _swept(tries: Table, counted: CTE) -> CTE:
    """Remove some of the rows whose window is over, so that the table stays small.

    It comes after the counting, by asking for the number of rows counted, which is not known before
    the last: whoever removed a row first would, while it waits for its own keys, be waited for.
    """
    all_counted = select(func.count()).select_from(counted).scalar_subquery()
    stale = (
        select(tries.c.key)
        .where(all_counted > text("0"), _is_over(tries.c.since), tries.c.key != all_(_keys()))
        .order_by(tries.c.since)
        .limit(_SWEPT_AT_ONCE)
        .with_for_update(skip_locked=True)
        .cte("stale")
    )
    return delete(tries).where(tries.c.key == stale.c.key).returning(tries.c.key).cte("swept")


def _is_over(since: ColumnElement[datetime]) -> ColumnElement[bool]:
    return since <= func.now() - _window()


def _keys() -> BindParameter[Any]:
    return bindparam("keys", type_=ARRAY(LargeBinary))


def _window() -> BindParameter[timedelta]:
    return bindparam("window", type_=Interval)
