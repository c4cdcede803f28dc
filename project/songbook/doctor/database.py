"""Checks of the server and its database: version, encoding, durability, limits."""

from collections.abc import Iterator

from sqlalchemy import Connection, text

from songbook.db import TIMEOUTS
from songbook.doctor.findings import Finding, Subject, failure, ok, or_ok, some, warning
from songbook.doctor.pooler import is_pooled

_SUPPORTED = range(17, 19)
"""The major versions that the service is tested with."""

_MIGRATIONS = 3
"""Connections to leave for `migrate`, which opens two, and for an operator."""

_DATABASE = text(
    "SELECT to_jsonb(pg_database) || jsonb_build_object('encoding', pg_encoding_to_char(encoding),"
    " 'actual', pg_database_collation_actual_version(oid))"
    " FROM pg_database WHERE datname = current_database()"
)
_LIMITS = text(
    "SELECT current_setting('max_connections')::int"
    " - current_setting('superuser_reserved_connections')::int"
    " - coalesce(current_setting('reserved_connections', true), '0')::int AS server,"
    " datconnlimit AS database, rolconnlimit AS role"
    " FROM pg_database, pg_roles WHERE datname = current_database() AND rolname = current_user"
)
_OPTIONS = text("SELECT name, reset_val FROM pg_settings WHERE name = ANY(:names)")

_DURABILITY = {
    "fsync": "a crash of the machine destroys the database",
    "full_page_writes": "a crash of the machine can destroy pages of the database",
    "synchronous_commit": "a crash loses writes that were acknowledged",
}


def check_version(connection: Connection, _subject: Subject) -> Iterator[Finding]:
    """Check the version of PostgreSQL, and that it accepts writes."""
    number = int(connection.exec_driver_sql("SHOW server_version_num").scalar_one())
    major = number // 10_000
    first, last = _SUPPORTED[0], _SUPPORTED[-1]
    name = f"PostgreSQL {major}.{number % 10_000}"
    if major in _SUPPORTED:
        yield ok(f"{name} is supported.")
    elif major < first:
        yield warning(f"{name} is older than {first}, the first supported version: upgrade it.")
    else:
        yield warning(f"{name} is newer than {last}, the last tested version: use {last}.")
    query = (
        "SELECT pg_is_in_recovery(), reset_val FROM pg_settings"
        " WHERE name = 'default_transaction_read_only'"
    )
    is_standby, is_read_only = connection.exec_driver_sql(query).one()
    if is_standby:
        yield failure(
            "The server is a standby, so writes get 503: set DATABASE_URL to the primary."
        )
    elif is_read_only == "on":
        yield failure(
            "Transactions are read-only, so writes get 503: reset default_transaction_read_only of"
            " the database, the role or the server."
        )


def check_text(connection: Connection, _subject: Subject) -> Iterator[Finding]:
    """Check the encoding and the locale, which decide how text sorts and folds."""
    found = connection.scalar(_DATABASE)
    assert found is not None, "we are connected to it"
    if found["encoding"] != "UTF8":
        yield failure(
            f"The encoding is {found['encoding']}, which cannot store every text: create a database"
            " with ENCODING UTF8 and restore a dump into it."
        )
    providers = {"b": "builtin", "c": "libc", "i": "icu"}
    provider = providers.get(found["datlocprovider"], found["datlocprovider"])
    locale = found.get("datlocale") or found["datcollate"]
    if (provider, locale) == ("builtin", "C.UTF-8"):
        yield ok("Text is UTF8 and sorts by code point: builtin locale C.UTF-8.")
    else:
        yield warning(
            f"The locale is {locale} of {provider}, so that sort orders and case differ from those"
            " of other databases: create one with LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'"
            " LOCALE 'C' TEMPLATE template0 and restore a dump into it."
        )
    stored, actual = found["datcollversion"], found["actual"]
    if stored != actual:
        yield warning(
            f"The indexes were made with version {stored} of the collation, and the system has"
            f" {actual}: run REINDEX DATABASE, then ALTER DATABASE … REFRESH COLLATION VERSION."
        )


def check_durability(connection: Connection, _subject: Subject) -> list[Finding]:
    """Check that what was acknowledged survives a crash."""
    off = [name for name, value in _options(connection, _DURABILITY).items() if value == "off"]
    problems = (
        failure(f"{name} is off, so {_DURABILITY[name]}: set it to on in postgresql.conf.")
        for name in off
    )
    return or_ok(problems, "Writes that were acknowledged survive a crash.")


def check_timeouts(connection: Connection, subject: Subject) -> list[Finding]:
    """Check the timeouts of the sessions of the service, which a pooler may ignore."""
    return or_ok(
        _timeouts(connection, subject), "Statements, locks and transactions have timeouts."
    )


def _timeouts(connection: Connection, subject: Subject) -> Iterator[Finding]:
    values = _options(connection, TIMEOUTS)
    if unlimited := [name for name in TIMEOUTS if values.get(name) == "0"]:
        statements = (f"ALTER ROLE … SET {name} = '{TIMEOUTS[name]}'" for name in unlimited)
        yield warning(
            f"{some(unlimited, 4)} are 0, as a pooler in between ignores those of the service, so"
            f" that a lost client may hold connections and locks: run {'; '.join(statements)}."
        )
    others = _options(connection, ("idle_session_timeout", "transaction_timeout"))
    if others.get("idle_session_timeout", "0") != "0":
        yield warning(
            "idle_session_timeout closes idle connections of the pool: run ALTER ROLE … SET"
            " idle_session_timeout = 0."
        )
    seconds = int(others.get("transaction_timeout", "0")) / 1000
    if 0 < seconds < subject.settings.bulk_seconds:
        yield warning(
            f"transaction_timeout ends imports and exports after {seconds:g} s: set it to 0 for the"
            f" role, or to more than BULK_SECONDS={subject.settings.bulk_seconds:g}."
        )


def check_connections(connection: Connection, subject: Subject) -> Iterator[Finding]:
    """Check that the pools of all workers, and a migration, fit into the limits."""
    if is_pooled(connection):
        yield ok("A pooler limits the connections to PostgreSQL.")
        return
    settings = subject.settings
    limits = connection.execute(_LIMITS).one()
    most = min(limit for limit in limits if limit >= 0)
    pools = settings.workers * settings.pool_size
    used = f"WORKERS={settings.workers} times POOL_SIZE={settings.pool_size} is {pools} connections"
    if pools > most:
        best = max(1, (most - _MIGRATIONS) // settings.workers)
        yield failure(
            f"{used}, and PostgreSQL allows {most}, so that requests get 503 under load: set"
            f" POOL_SIZE to {best}, or raise max_connections or the limit of the role."
        )
    elif pools > most - _MIGRATIONS:
        yield warning(
            f"{used} of {most}, which leaves less than {_MIGRATIONS} to migrate and to look:"
            " lower POOL_SIZE, or raise max_connections."
        )
    else:
        yield ok(f"{used} of {most} that PostgreSQL allows.")


def _options(connection: Connection, names: object) -> dict[str, str]:
    """Return the values that a session of the service begins with."""
    rows = connection.execute(_OPTIONS, {"names": [*names]})  # type: ignore[misc]
    return {row.name: row.reset_val for row in rows}
