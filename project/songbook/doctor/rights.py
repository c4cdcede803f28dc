"""Checks of the role: that it may do what the service does, and in production no more."""

from collections.abc import Iterator

from sqlalchemy import Connection, text

from songbook.doctor.findings import Finding, Subject, failure, ok, or_ok, warning
from songbook.doctor.schema import existing_tables

_TABLES = text(
    "SELECT relname, privilege FROM pg_class,"
    " unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS privilege"
    " WHERE pg_class.oid = ANY(:tables)"
    " AND NOT has_table_privilege(pg_class.oid, privilege) ORDER BY 1, 2"
)
# an identity column needs no right on its sequence
_SEQUENCES = text(
    "SELECT objid::regclass::text FROM pg_depend JOIN pg_class ON pg_class.oid = objid"
    " WHERE refobjid = ANY(:tables) AND CASE WHEN relkind = 'S' AND deptype = 'a'"
    " THEN NOT has_sequence_privilege(objid, 'USAGE') ELSE false END ORDER BY 1"
)
_OWNED = text(
    "SELECT count(*) FROM pg_class WHERE oid = ANY(:tables) AND pg_has_role(relowner, 'USAGE')"
)
_ROLE = (
    "SELECT rolname AS name, rolsuper AS is_superuser,"
    " has_database_privilege(current_database(), 'TEMPORARY') AS may_use_temporary_tables,"
    " has_schema_privilege(current_schema(), 'CREATE') AS may_create,"
    " to_regclass('alembic_version') IS NULL"
    " OR has_table_privilege(to_regclass('alembic_version'), 'SELECT') AS may_read_revision"
    " FROM pg_roles WHERE rolname = current_user"
)


def check_needed(connection: Connection, subject: Subject) -> list[Finding]:
    """Check that the role may do what the service does."""
    return or_ok(_missing(connection, subject), "The role may do all that the service does.")


def _missing(connection: Connection, subject: Subject) -> Iterator[Finding]:
    if connection.exec_driver_sql("SELECT current_schema()").scalar() is None:
        yield failure(
            "The role may use no schema of its search_path: run GRANT USAGE ON SCHEMA … TO …."
        )
        return
    role = connection.exec_driver_sql(_ROLE).one()
    tables = existing_tables(connection, subject)
    for table, privilege in connection.execute(_TABLES, tables):
        yield _lacks(role.name, privilege, table)
    for sequence in connection.scalars(_SEQUENCES, tables):
        yield _lacks(role.name, "USAGE", f"SEQUENCE {sequence}")
    if not role.may_read_revision:
        yield _lacks(role.name, "SELECT", "alembic_version")
    if not role.may_use_temporary_tables:
        yield failure(
            f"{role.name} may not create temporary tables, which imports need: run GRANT TEMPORARY"
            f" ON DATABASE … TO {role.name}."
        )


def _lacks(role: str, privilege: str, name: str) -> Finding:
    return failure(f"{role} lacks a right: run GRANT {privilege} ON {name} TO {role}.")


def check_excess(connection: Connection, subject: Subject) -> Iterator[Finding]:
    """Check that in production the role may not change the schema."""
    role = connection.exec_driver_sql(_ROLE).one()
    tables = existing_tables(connection, subject)
    owned = connection.scalar(_OWNED, tables)
    powers = {
        "is a superuser": role.is_superuser,
        f"owns {owned} of the tables": owned,
        "may create tables": role.may_create,
    }
    found = next((power for power, has_it in powers.items() if has_it), None)
    if found is None:
        yield ok(f"{role.name} may not change the schema.")
    elif subject.is_production:
        yield warning(
            f"{role.name} {found}: let another role own the tables and run `migrate`, and give this"
            " one SELECT, INSERT, UPDATE and DELETE."
        )
    else:
        yield ok(f"{role.name} {found}, which production does better without.")
