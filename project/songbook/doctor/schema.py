"""Checks of the schema: its revision, and whether it is what the models say."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, Table, text
from sqlalchemy.schema import CreateTable

from songbook.db import DIALECT, read_revisions
from songbook.doctor.findings import OK, Finding, Subject, failure, ok, or_ok, some, warning
from songbook.models import stored_name

_STORED = "SELECT version_num FROM alembic_version ORDER BY version_num"

# 'n' is NOT NULL, which PostgreSQL 18 stores as constraints, too
_CONSTRAINTS = text(
    "SELECT conname AS name, conrelid::regclass::text AS table, convalidated AS is_valid"
    " FROM pg_constraint WHERE conrelid = ANY(:tables) AND contype NOT IN ('n', 't')"
    " ORDER BY 2, 1"
)
_INDEXES = text(
    "SELECT indexrelid::regclass::text AS name, indrelid::regclass::text AS table, indisunique,"
    " indisvalid, EXISTS (SELECT FROM pg_stat_progress_create_index AS progress"
    " WHERE progress.index_relid = indexrelid) AS is_built"
    " FROM pg_index WHERE indrelid = ANY(:tables) ORDER BY 2, 1"
)
_TABLES = text(
    "SELECT CAST(to_regclass(name) AS oid) FROM unnest(CAST(:names AS text[])) AS name"
    " WHERE to_regclass(name) IS NOT NULL"
)
_UNLOGGED = text(
    "SELECT relname FROM pg_class WHERE oid = ANY(:tables) AND relpersistence = 'u' ORDER BY 1"
)


def check_schema(connection: Connection, subject: Subject) -> Iterator[Finding]:
    """Check that the database has the revision that the code needs, and what the models say."""
    revision = _compare_revision(connection, subject)
    yield revision
    if revision.level == OK:
        yield _compare_models(connection, subject)


def _compare_revision(connection: Connection, subject: Subject) -> Finding:
    revisions = read_revisions(subject.settings.directory)
    needed, migrate = some(sorted(revisions.heads)), "run the command migrate"
    if connection.exec_driver_sql("SELECT to_regclass('alembic_version')").scalar() is None:
        return failure(f"The database has no revision, and the code needs {needed}: {migrate}.")
    stored = [*connection.exec_driver_sql(_STORED).scalars()]
    text = f"The database has the revision {some(stored) or 'none'}"
    if revisions.heads.issubset(stored):
        return ok(f"{text}, which the code needs.")
    if not revisions.are_in(stored):
        return failure(f"{text}, and the code needs {needed}: {migrate}.")
    return warning(f"{text}, newer than {needed} of the code: deploy the code that it belongs to.")


def _compare_models(connection: Connection, subject: Subject) -> Finding:
    """Compare the schema with the models, as `alembic check` does."""
    from songbook.db.migrations import differences  # noqa: PLC0415 - 9 MB of Alembic

    if found := differences(connection, subject.metadata):
        return failure(
            f"The schema differs from the models ({some(found)}): write a revision with `alembic"
            " revision --autogenerate`, or undo what was changed by hand."
        )
    return ok("The schema is what the models say.")


def check_constraints(connection: Connection, subject: Subject) -> list[Finding]:
    """Check that the models name all constraints, and that all are valid."""
    message = "Constraints and indexes are valid and named in the models."
    return or_ok(_constraints(connection, subject), message)


def _constraints(connection: Connection, subject: Subject) -> Iterator[Finding]:
    tables = existing_tables(connection, subject)
    constraints = connection.execute(_CONSTRAINTS, tables).all()
    indexes = connection.execute(_INDEXES, tables).all()
    names = {name for table in subject.metadata.tables.values() for name in _names(table)}
    unique = [each for each in indexes if each.indisunique]
    stored = {each.name: each.table for each in (*constraints, *unique)}
    if unknown := [f"{name} of {stored[name]}" for name in sorted(stored.keys() - names)]:
        yield warning(
            f"The models do not name {some(unknown)}, so that a conflict with it names no field:"
            " add it to a model, or drop it."
        )
    for each in constraints:
        if not each.is_valid:
            yield warning(
                f"{each.name} was not checked for the rows that {each.table} had: run ALTER TABLE"
                f" {each.table} VALIDATE CONSTRAINT {each.name}."
            )
    for each in indexes:
        if not (each.indisvalid or each.is_built):
            yield failure(
                f"The index {each.name} is invalid, left by CREATE INDEX CONCURRENTLY: run REINDEX"
                f" INDEX CONCURRENTLY {each.name}, or drop it."
            )


def check_unlogged(connection: Connection, subject: Subject) -> list[Finding]:
    """Check that a crash empties only the tables that may be empty."""
    tables = existing_tables(connection, subject)
    meant = {table.name for table in subject.metadata.tables.values() if _is_unlogged(table)}
    problems = (
        failure(
            f"A crash empties the table {name}, which is UNLOGGED: run ALTER TABLE {name} SET"
            " LOGGED."
        )
        for name in connection.scalars(_UNLOGGED, tables)
        if name not in meant
    )
    return or_ok(problems, "Tables survive a crash.")


def existing_tables(connection: Connection, subject: Subject) -> dict[str, list[int]]:
    """Return the parameter `tables`: the ids of the tables of the models in the database."""
    quote = connection.dialect.identifier_preparer.format_table
    names = [quote(table) for table in subject.metadata.tables.values()]
    return {"tables": [*connection.scalars(_TABLES, {"names": names})]}


def _names(table: Table) -> Iterator[str]:
    named: list[Any] = [*table.constraints, *table.indexes]
    return (stored_name(str(each.name)) for each in named)


def _is_unlogged(table: Table) -> bool:
    return "CREATE UNLOGGED" in str(CreateTable(table).compile(dialect=DIALECT))
