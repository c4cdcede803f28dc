"""Checks of what PostgreSQL's statistics tell: analysis, vacuum, ids of transactions."""

from collections.abc import Iterator

from sqlalchemy import Connection, text

from songbook.doctor.findings import Finding, Subject, failure, or_ok, some, warning
from songbook.doctor.schema import existing_tables

_MIN_ROWS = 1000
"""Rows below which the planner cannot go wrong by much, and dead ones do not matter."""

_DEAD_RATIO = 0.5
"""Dead rows per living one; autovacuum starts at 0.2."""

_OLD_SECONDS = 3600
_OLD_IDS, _LAST_IDS = 500_000_000, 1_500_000_000
"""Ages in transactions: autovacuum starts at 200 million; at 2.1 billion PostgreSQL stops."""

_TABLES = text(
    "SELECT pg_class.oid::regclass::text AS name, n_live_tup AS living, n_dead_tup AS dead,"
    " EXISTS (SELECT FROM pg_stats WHERE pg_stats.schemaname = pg_stat_user_tables.schemaname"
    " AND tablename = pg_class.relname) AS is_analyzed,"
    " coalesce('autovacuum_enabled=false' = ANY(reloptions), false) AS is_off"
    " FROM pg_class JOIN pg_stat_user_tables ON relid = pg_class.oid"
    " WHERE pg_class.oid = ANY(:tables) ORDER BY 1"
)
_OFF = (
    "SELECT name FROM pg_settings WHERE name IN ('autovacuum', 'track_counts') AND setting = 'off'"
)
# a role without pg_read_all_stats sees its own transactions only
_OLDEST = text(
    "SELECT pid, extract(epoch FROM now() - xact_start) / 3600 AS hours FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    " AND xact_start < now() - make_interval(secs => :seconds) ORDER BY 2 DESC LIMIT 1"
)
_AGE = "SELECT max(age(datfrozenxid)) FROM pg_database"


def check_statistics(connection: Connection, subject: Subject) -> list[Finding]:
    """Check that tables are analyzed and vacuumed."""
    return or_ok(_statistics(connection, subject), "Tables are analyzed and vacuumed.")


def _statistics(connection: Connection, subject: Subject) -> Iterator[Finding]:
    for name in connection.exec_driver_sql(_OFF).scalars():
        yield failure(f"{name} is off, so that tables grow without end: set it to on.")
    tables = existing_tables(connection, subject)
    rows = connection.execute(_TABLES, tables).all()
    if off := [each.name for each in rows if each.is_off]:
        yield warning(
            f"autovacuum is off for {some(off)}: run ALTER TABLE … RESET (autovacuum_enabled)."
        )
    new = [each.name for each in rows if each.living >= _MIN_ROWS and not each.is_analyzed]
    if new:
        yield warning(f"{some(new)} was never analyzed, so that plans are guesses: run ANALYZE.")
    for each in rows:
        if each.dead >= _MIN_ROWS and each.dead > _DEAD_RATIO * each.living:
            yield warning(
                f"{each.name} has {each.dead:,} dead rows beside {each.living:,} living ones, which"
                f" lists read, too: run VACUUM (ANALYZE) {each.name}."
            )


def check_transactions(
    connection: Connection,
    _subject: Subject,
    old_seconds: float = _OLD_SECONDS,
    old_ids: int = _OLD_IDS,
) -> list[Finding]:
    """Check that no transaction is so old that dead rows stay, and that ids do not run out.

    `old_seconds` is the age of an old transaction, `old_ids` that of rows in transactions.
    """
    problems = [*_old_transactions(connection, old_seconds), *_old_rows(connection, old_ids)]
    return or_ok(problems, "No transaction is old, and their ids last long.")


def _old_transactions(connection: Connection, seconds: float) -> Iterator[Finding]:
    oldest = connection.execute(_OLDEST, {"seconds": seconds}).one_or_none()
    if oldest:
        yield warning(
            f"A transaction has been open for {oldest.hours:.1f} h and keeps dead rows: end it, if"
            f" nobody needs it, with SELECT pg_terminate_backend({oldest.pid})."
        )


def _old_rows(connection: Connection, ids: int) -> Iterator[Finding]:
    age = connection.exec_driver_sql(_AGE).scalar_one()
    if age > ids:
        level = failure if age > _LAST_IDS else warning
        yield level(
            f"The oldest row that is not frozen is {age:,} transactions old, and at 2,100,000,000"
            " PostgreSQL stops: run VACUUM (FREEZE) in every database, as autovacuum did not."
        )
