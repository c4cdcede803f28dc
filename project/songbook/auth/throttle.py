"""The rate limit of logins: tries counted in PostgreSQL, so that all workers know of them.

A window begins with the first try of its kind and is over after a fixed time; then the count begins
anew. What is counted is an address, or a name as it is tried from an address, so that nobody can
lock out another user from elsewhere.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address, ip_address

from sqlalchemy import DateTime, text
from sqlmodel import Field, SQLModel

from songbook.db import BoundStatement, Database
from songbook.errors import TooManyRequests

# Of the keys ($1), their limits ($2) and the window ($3): the seconds to wait, or null.
# `reached` looks up each key by itself: with a join, as long as a growing table is not analyzed,
# PostgreSQL reads all of it.
# `counted` goes in the order of the keys: of two logins only one waits for the other.
# `swept` removes some of the rows whose window is over, so that the table stays small. It comes
# after the counting, as the number of rows counted is not known before the last: a statement that
# removed a row first would, while it waits for its own keys, be waited for.
_COUNT = """
WITH asked AS (
    SELECT * FROM unnest($1::bytea[], $2::integer[]) AS asked (key, allowed)
), reached AS (
    SELECT known.since
    FROM asked, LATERAL (SELECT * FROM login_tries WHERE key = asked.key LIMIT 1) AS known
    WHERE known.tries >= asked.allowed AND known.since > now() - $3::interval
), counted AS (
    INSERT INTO login_tries AS stored (key)
    SELECT key FROM asked WHERE NOT EXISTS (SELECT FROM reached) ORDER BY key
    ON CONFLICT (key) DO UPDATE SET
        tries = CASE WHEN stored.since <= now() - $3 THEN 1 ELSE stored.tries + 1 END,
        since = CASE WHEN stored.since <= now() - $3 THEN now() ELSE stored.since END
    RETURNING key, tries, since
), stale AS (
    SELECT key FROM login_tries
    WHERE (SELECT count(*) FROM counted) > 0 AND since <= now() - $3 AND key <> ALL ($1)
    ORDER BY since LIMIT 10 FOR UPDATE SKIP LOCKED
), swept AS (
    DELETE FROM login_tries USING stale WHERE login_tries.key = stale.key
), exceeded AS (
    SELECT since FROM reached
    UNION ALL SELECT since FROM counted JOIN asked USING (key) WHERE tries > allowed
)
SELECT ceil(extract(epoch FROM max(since) + $3 - now()))::integer AS seconds FROM exceeded
"""


class LoginAttempts(SQLModel, table=True):
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
    place = _network(address) or "nowhere"
    return {place: per_address, f"{place} {name.strip().casefold()}": per_name}


async def count_attempt(db: Database, keys: Mapping[str, int], window: timedelta) -> None:
    """Count a try for each of the keys, and raise TooManyRequests if it is beyond a key's limit.

    `Retry-After` says in how many seconds the last of the exceeded windows ends. A try that comes
    when a limit is already reached is not counted: it writes nothing and waits for nobody. Raises
    ServiceUnavailable when no connection is to be had, and asyncpg's errors as they are.
    """
    hashes = [sha256(key.encode(errors="surrogatepass")).digest() for key in keys]
    row = await db.fetch(BoundStatement(_COUNT, [hashes, list(keys.values()), window]))
    assert row is not None
    if row["seconds"] is not None:
        seconds = max(1, row["seconds"])
        detail = f"Too many logins: try again in {-(-seconds // 60)} minutes."
        raise TooManyRequests(detail, headers={"Retry-After": str(seconds)})


def _network(address: str | None) -> str | None:
    try:
        found = ip_address(address or "")
    except ValueError:
        return None
    if isinstance(found, IPv4Address):
        return str(found)
    return str(found.ipv4_mapped or IPv6Address(int(found) >> 64 << 64))
