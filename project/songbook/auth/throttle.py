"""The rate limit of logins, counted in PostgreSQL for all workers.

Attempts are counted per IP address, and per name and address, in fixed windows that begin with the
first attempt. Nobody can lock out a user at another address.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from hashlib import sha256

from sqlalchemy import DateTime, text
from sqlmodel import Field, SQLModel

from songbook.db import BoundStatement, Database, Use
from songbook.errors import TooManyRequests
from songbook.http import network_of
from songbook.metrics import REFUSALS

# Parameters: keys ($1), their limits ($2), window ($3). Returns the seconds to wait, or null.
# `reached` is LATERAL, since a join would scan the whole table until it is analyzed.
# `counted` inserts in the order of the keys, against deadlocks.
# `purged` deletes some expired rows. It depends on count(*) of `counted`, so that the statement
# holds no lock of an expired row while it waits for its own keys.
_COUNT = """
WITH attempt AS (
    SELECT * FROM unnest($1::bytea[], $2::integer[]) AS attempt (key, allowed)
), reached AS (
    SELECT known.since
    FROM attempt, LATERAL (SELECT * FROM login_tries WHERE key = attempt.key LIMIT 1) AS known
    WHERE known.tries >= attempt.allowed AND known.since > now() - $3::interval
), counted AS (
    INSERT INTO login_tries AS stored (key)
    SELECT key FROM attempt WHERE NOT EXISTS (SELECT FROM reached) ORDER BY key
    ON CONFLICT (key) DO UPDATE SET
        tries = CASE WHEN stored.since <= now() - $3 THEN 1 ELSE stored.tries + 1 END,
        since = CASE WHEN stored.since <= now() - $3 THEN now() ELSE stored.since END
    RETURNING key, tries, since
), stale AS (
    SELECT key FROM login_tries
    WHERE (SELECT count(*) FROM counted) > 0 AND since <= now() - $3 AND key <> ALL ($1)
    ORDER BY since LIMIT 10 FOR UPDATE SKIP LOCKED
), purged AS (
    DELETE FROM login_tries USING stale WHERE login_tries.key = stale.key
), exceeded AS (
    SELECT since FROM reached
    UNION ALL SELECT since FROM counted JOIN attempt USING (key) WHERE tries > allowed
)
SELECT ceil(extract(epoch FROM max(since) + $3 - now()))::integer AS seconds FROM exceeded
"""


class LoginAttempts(SQLModel, table=True):
    """The number of attempts since the window of a key began; keys are stored as hashes."""

    __tablename__ = "login_tries"
    __table_args__ = {"prefixes": ["UNLOGGED"]}  # a crash may empty it

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
    """Return the limits of a login by key: its network (a /64 for IPv6), and network and name."""
    network = network_of(address) or "nowhere"
    return {network: per_address, f"{network} {name.strip().casefold()}": per_name}


async def count_attempt(db: Database, keys: Mapping[str, int], window: timedelta) -> None:
    """Count an attempt for each key. Raises TooManyRequests if a limit is exceeded.

    `Retry-After` is when the last exceeded window ends, in seconds. Attempts beyond a limit are not
    counted: they write nothing. Raises ServiceUnavailable, and asyncpg's errors.
    """
    hashes = [sha256(key.encode(errors="surrogatepass")).digest() for key in keys]
    arguments = [hashes, list(keys.values()), window]
    row = await db.fetch(BoundStatement(_COUNT, arguments, use=Use.WRITE))
    assert row is not None
    if row["seconds"] is not None:
        REFUSALS.inc("login_tries")
        seconds = max(1, row["seconds"])
        minutes = -(-seconds // 60)
        detail = f"Too many logins: try again in {minutes} minute{'s' if minutes > 1 else ''}."
        raise TooManyRequests(detail, headers={"Retry-After": str(seconds)})
