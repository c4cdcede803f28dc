"""Gives the rows of a table a value for a new column that is NOT NULL."""

import json
from typing import Any

from alembic.autogenerate.rewriter import Rewriter
from alembic.operations.ops import AddColumnOp, AlterColumnOp, ExecuteSQLOp, MigrateOperation
from alembic.runtime.migration import MigrationContext
from sqlalchemy import JSON, Column

from songbook.db.statements import DIALECT

rewriter = Rewriter()
"""The value of `process_revision_directives`."""


@rewriter.rewrites(AddColumnOp)
def _add_column(
    _context: MigrationContext, _revision: Any, operation: AddColumnOp
) -> list[MigrateOperation]:
    """Add the column with the default of its field, and drop the default; else need no rows."""
    column, table = operation.column, operation.table_name
    if column.nullable or column.server_default is not None:
        return [operation]
    value = _default(column)
    if value is None:
        return [ExecuteSQLOp(_refuse_rows(table, column.name)), operation]
    text = _literal(column, value)
    filled = Column(column.name, column.type, nullable=False, server_default=text)
    without_default = AlterColumnOp(table, column.name, modify_server_default=None)
    return [AddColumnOp(table, filled), without_default]


def _default(column: Column[Any]) -> Any:
    """Return the default if it is the same for all rows, otherwise None."""
    default: Any = column.default
    if default is not None and default.is_callable:
        made = default.arg(None)
        return made if made in ([], {}) else None
    return default.arg if default is not None and default.is_scalar else None


def _literal(column: Column[Any], value: Any) -> str:
    """Return the text that PostgreSQL reads as the value."""
    if isinstance(column.type, JSON):
        return json.dumps(value)
    if isinstance(value, list):
        texts = [str(each).replace("\\", r"\\").replace('"', r"\"") for each in value]
        return "{" + ",".join(f'"{each}"' for each in texts) + "}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _refuse_rows(table: str, column: str) -> str:
    """Return the statement that raises if the table has rows."""
    message = (
        f"{table}.{column} is NOT NULL and has no default, but {table} has rows: let the revision"
        " add it with a server_default, or as nullable, set it, and make it NOT NULL"
    ).replace("'", "''")
    quoted = DIALECT.identifier_preparer.quote(table)
    return (
        f"DO $$BEGIN IF EXISTS (SELECT FROM {quoted}) THEN"
        f" RAISE not_null_violation USING MESSAGE = '{message}'; END IF; END$$"
    )
