"""Runs all checks of a service."""

import asyncio
from collections.abc import Mapping

import asyncpg
from sqlalchemy import Connection
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from songbook.config import CommandError
from songbook.db import Database, check_database, is_missing, resolve_database
from songbook.doctor.clock import check_clock, check_time_zone
from songbook.doctor.database import (
    check_connections,
    check_durability,
    check_text,
    check_timeouts,
    check_version,
)
from songbook.doctor.findings import Check, Finding, Subject, failure, warning
from songbook.doctor.indexes import check_indexes
from songbook.doctor.local import check_disk, check_scripts, check_settings
from songbook.doctor.locks import check_locks
from songbook.doctor.pooler import check_pooler
from songbook.doctor.rights import check_excess, check_needed
from songbook.doctor.schema import check_constraints, check_schema, check_unlogged
from songbook.doctor.statistics import check_statistics, check_transactions

SECONDS = 10.0
"""How long the checks of the database may take together, once it is connected."""

_BOUNDS = (
    "SELECT set_config('transaction_read_only', 'on', true),"
    " set_config('statement_timeout', '2s', true), set_config('lock_timeout', '1s', true)"
)

_RETRY = "try again when the database is less busy, or look into its log"

Checks = Mapping[str, tuple[Check, ...]]

CHECKS: Checks = {
    "Database": (
        *(check_version, check_clock, check_time_zone, check_text),
        *(check_durability, check_timeouts, check_connections, check_locks),
    ),
    "Schema": (check_schema, check_constraints, check_unlogged),
    "Role": (check_needed, check_excess),
    "Statistics": (check_statistics, check_transactions, check_indexes),
}

Report = dict[str, list[Finding]]
"""Findings by their group."""


def diagnose(subject: Subject) -> Report:
    """Return what all checks find; those of the database write nothing to it.

    If the database is unreachable, one failure says so. The embedded PostgreSQL runs meanwhile; it
    is not created.
    """
    settings = subject.settings
    report = {
        "Settings": check_settings(subject),
        "Revisions": [*check_scripts(subject)],
        "Disk": [*check_disk(subject)],
    }
    if is_missing(settings):
        problem = f"{settings.postgres_data} has no database yet: run the command migrate."
        return report | {"Database": [failure(problem)]}
    try:
        with resolve_database(settings) as url:
            check_database(url)
            return report | asyncio.run(examine(url, subject, CHECKS))
    except CommandError as error:
        text = str(error)
        return report | {"Database": [failure(text[:1].upper() + text[1:])]}


async def examine(url: URL, subject: Subject, checks: Checks) -> Report:
    """Return what the checks of the database find within SECONDS."""
    report: Report = {name: [] for name in ("Database", *checks)}
    database = Database(url, pool_size=2)
    try:
        async with asyncio.timeout(SECONDS):
            report["Database"].append(await check_pooler(database.engine, subject))
            async with database.engine.connect() as connection:
                await connection.run_sync(_run_all, subject, checks, report)
    except (SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        report["Database"].append(failure(f"The checks were stopped ({_reason(error)}): {_RETRY}."))
    finally:
        await database.close()
    return report


def _run_all(connection: Connection, subject: Subject, checks: Checks, report: Report) -> None:
    """Add the findings to a report, in a read-only transaction."""
    connection.exec_driver_sql(_BOUNDS)
    for name, group in checks.items():
        for check in group:
            report[name] += _run(connection, subject, check)


def _run(connection: Connection, subject: Subject, check: Check) -> list[Finding]:
    """Return what a check finds. Raises SQLAlchemyError if the connection is lost."""
    try:
        with connection.begin_nested():
            return [*check(connection, subject)]
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        return [warning(f"{check.__name__} was stopped ({_reason(error)}): {_RETRY}.")]


def _reason(error: BaseException) -> str:
    """Return the message of an error in one line."""
    cause = getattr(error, "driver_exception", None) or error
    return next(iter(str(cause).splitlines()), type(cause).__name__)
