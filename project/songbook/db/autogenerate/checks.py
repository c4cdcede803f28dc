"""Compares the conditions of CHECK constraints, and writes them into revisions."""

import re

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.ddl.impl import ComparisonResult
from alembic.ddl.postgresql import PostgresqlImpl
from alembic.operations.ops import AddConstraintOp, CreateCheckConstraintOp
from sqlalchemy import CheckConstraint, Connection, Table, TextClause, text
from sqlalchemy.exc import DBAPIError

from songbook.db.statements import DIALECT

_BIND = re.compile(r"(?<![:\w\\]):(?=\w+(?!:))")
"""What `text` takes for a parameter, such as the colon of `(?:x)`."""

_EXPRESSION = text(
    "SELECT pg_get_expr(conbin, conrelid) FROM pg_constraint"
    " WHERE conrelid = to_regclass(:table) AND conname = :name"
)


class ComparingImpl(PostgresqlImpl):
    """What Alembic does on PostgreSQL; importing it replaces Alembic's own class."""

    __dialect__ = "postgresql"

    def compare_check_constraint(
        self, metadata_constraint: CheckConstraint, reflected_constraint: CheckConstraint
    ) -> ComparisonResult:
        """Compare the conditions as PostgreSQL spells them."""
        table, condition = metadata_constraint.table, _condition(metadata_constraint)
        assert isinstance(table, Table)
        assert self.connection is not None
        quoted = self.dialect.identifier_preparer.format_table(table)
        arguments = {"table": quoted, "name": reflected_constraint.name}
        stored = self.connection.scalar(_EXPRESSION, arguments)
        if _is_same(self.connection, quoted, condition, stored):
            return ComparisonResult.Equal()
        return ComparisonResult.Different(f"{stored} to {condition}")


def _is_same(connection: Connection, table: str, condition: str, stored: str) -> bool:
    """Let PostgreSQL spell the conditions, in the output of a plan: that writes nothing.

    Folded as they are there, spellings of `IN` agree that differ in the catalog after a downgrade
    or when a dump was restored.
    """

    def spell(condition: str) -> object:
        query = f"SELECT ({condition}) FROM {table}"  # noqa: S608 - of models and the catalog
        plan = connection.exec_driver_sql(f"EXPLAIN (VERBOSE, COSTS OFF, FORMAT JSON) {query}")
        return plan.scalar_one()[0]["Plan"]["Output"]

    try:
        with connection.begin_nested():
            return spell(condition) == spell(stored)
    except DBAPIError:  # of a column that the revision adds, for example
        return False


def _condition(constraint: CheckConstraint) -> str:
    """Return the condition in SQL."""
    condition = constraint.sqltext
    if isinstance(condition, TextClause):
        return condition.text.replace("\\:", ":")
    options = {"literal_binds": True, "include_table": False}
    return str(condition.compile(dialect=DIALECT, compile_kwargs=options))


def render_check(constraint: CheckConstraint) -> str:
    """Return the code of a constraint of a new table."""
    name = f", name=op.f({str(constraint.name)!r})" if constraint.name else ""
    return f"sa.CheckConstraint({_escape(_condition(constraint))!r}{name})"


@AddConstraintOp.add_constraint_ops.dispatch_for(CheckConstraint.__visit_name__, replace=True)
def _add_check(constraint: CheckConstraint) -> CreateCheckConstraintOp:
    """Return the addition of a constraint, with its condition as text.

    Of columns, Alembic would make constraints that SQLAlchemy adds to the table of the models.
    """
    addition = CreateCheckConstraintOp.from_constraint(constraint)
    addition.condition = text(_escape(_condition(constraint)))
    return addition


def _escape(condition: str) -> str:
    return _BIND.sub(r"\:", condition)


@renderers.dispatch_for(CreateCheckConstraintOp, replace=True)
def _render_operation(context: AutogenContext, operation: CreateCheckConstraintOp) -> list[str]:
    """Return an addition that does not read the rows, and the validation.

    For a large table the validation can be moved into an `autocommit_block`, where it takes a lock
    that writers pass.
    """
    quote = context.dialect.identifier_preparer.quote
    table, name = operation.table_name, str(operation.constraint_name)
    condition = _escape(_condition(operation.to_constraint()))
    validation = f"ALTER TABLE {quote(table)} VALIDATE CONSTRAINT {quote(name)}"
    arguments = f"op.f({name!r}), {table!r}, {condition!r}, postgresql_not_valid=True"
    return [f"op.create_check_constraint({arguments})", f"op.execute({validation!r})"]
