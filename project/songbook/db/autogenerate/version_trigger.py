"""A plugin of Alembic's autogenerate for the version triggers and their function."""

from dataclasses import dataclass
from typing import Any

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import DropTableOp, MigrateOperation, UpgradeOps
from alembic.runtime.plugins import Plugin
from alembic.util import DispatchPriority, PriorityDispatchResult
from sqlalchemy import Connection, text

from songbook.models import NEXT_VERSION, NEXT_VERSION_BODY, VERSION_TRIGGERS, create_next_version

PLUGIN = Plugin("songbook.version_trigger")

_FUNCTION = {"function": NEXT_VERSION}
_STORED_BODY = text("SELECT prosrc FROM pg_proc WHERE oid = to_regprocedure(:function)")
_STORED_TRIGGERS = text(
    "SELECT relname, pg_get_triggerdef(pg_trigger.oid, true) AS definition"
    " FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid"
    " WHERE tgfoid = to_regprocedure(:function) AND pg_table_is_visible(tgrelid)"
)


@dataclass
class ReplaceNextVersion(MigrateOperation):
    """Create, replace or drop the function."""

    body: str | None
    stored_body: str | None

    def reverse(self) -> "ReplaceNextVersion":
        """Return the operation for the downgrade."""
        return ReplaceNextVersion(self.stored_body, self.body)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return the difference that `alembic check` prints."""
        return ("replace_function", NEXT_VERSION)


@dataclass
class ReplaceVersionTrigger(MigrateOperation):
    """Create, replace or drop the trigger of a table."""

    table: str
    definition: str | None
    stored_definition: str | None

    def reverse(self) -> "ReplaceVersionTrigger":
        """Return the operation for the downgrade."""
        return ReplaceVersionTrigger(self.table, self.stored_definition, self.definition)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return the difference that `alembic check` prints."""
        return ("replace_trigger", "next_version", self.table)


def stored_triggers(connection: Connection) -> dict[str, str]:
    """Return the tables in the database that have the trigger, with its definition."""
    triggers = connection.execute(_STORED_TRIGGERS, _FUNCTION)
    return {trigger.relname: trigger.definition for trigger in triggers}


def _compare_version_triggers(
    context: AutogenContext, upgrade: UpgradeOps, _schemas: set[str | None]
) -> PriorityDispatchResult:
    """Add the operations: those of dropped tables and the function in front, the others behind."""
    assert context.connection is not None
    tables = {table.name for table in context.sorted_tables}
    dropped = {each.table_name for each in upgrade.ops if isinstance(each, DropTableOp)}
    stored = stored_triggers(context.connection)
    wanted = {
        table.name: VERSION_TRIGGERS[table]
        for table in context.sorted_tables
        if table in VERSION_TRIGGERS
    }
    for name in sorted(tables | dropped & stored.keys()):
        operation = ReplaceVersionTrigger(name, wanted.get(name), stored.get(name))
        if _unquoted(operation.definition) != _unquoted(operation.stored_definition):
            upgrade.ops.insert(0 if name in dropped else len(upgrade.ops), operation)
    stored_body = context.connection.scalar(_STORED_BODY, _FUNCTION)
    if wanted and stored_body != NEXT_VERSION_BODY:
        upgrade.ops.insert(0, ReplaceNextVersion(NEXT_VERSION_BODY, stored_body))
    return PriorityDispatchResult.CONTINUE


def _unquoted(definition: str | None) -> str | None:
    """Return a definition without quotes, which PostgreSQL and SQLAlchemy set differently."""
    return definition and definition.replace('"', "")


@renderers.dispatch_for(ReplaceNextVersion)
def _render_function(_context: AutogenContext, operation: ReplaceNextVersion) -> str:
    """Return plain SQL, so that revisions do not depend on the library."""
    statement = f"DROP FUNCTION {NEXT_VERSION}"
    if operation.body is not None:
        statement = create_next_version(operation.body)
    return f"op.execute({statement!r})"


@renderers.dispatch_for(ReplaceVersionTrigger)
def _render_trigger(context: AutogenContext, operation: ReplaceVersionTrigger) -> str:
    """Return plain SQL, so that revisions do not depend on the library."""
    table = context.dialect.identifier_preparer.quote(operation.table)
    statement = f"DROP TRIGGER next_version ON {table}"
    if operation.definition is not None:
        statement = operation.definition.replace("CREATE", "CREATE OR REPLACE", 1)
    return f"op.execute({statement!r})"


PLUGIN.add_autogenerate_comparator(
    _compare_version_triggers, "schema", priority=DispatchPriority.LAST
)
