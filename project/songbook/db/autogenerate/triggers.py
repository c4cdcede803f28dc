"""A plugin of Alembic's autogenerate for the triggers of Records and their functions."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import DropTableOp, MigrateOperation, UpgradeOps
from alembic.runtime.plugins import Plugin
from alembic.util import DispatchPriority, PriorityDispatchResult
from sqlalchemy import Connection, text

from songbook.models import TRIGGER_FUNCTIONS, create_function, triggers_of

PLUGIN = Plugin("songbook.triggers")

_STORED_BODY = text("SELECT prosrc FROM pg_proc WHERE oid = to_regprocedure(:function)")
_STORED_TRIGGERS = text(
    "SELECT relname, tgname, pg_get_triggerdef(pg_trigger.oid, true) AS definition"
    " FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid"
    " WHERE tgfoid = to_regprocedure(:function) AND pg_table_is_visible(tgrelid)"
)

Trigger = tuple[str, str]
"""The names of a table and of a trigger."""


@dataclass
class ReplaceFunction(MigrateOperation):
    """Create, replace or drop a function."""

    signature: str
    body: str | None
    stored_body: str | None

    def reverse(self) -> "ReplaceFunction":
        """Return the operation for the downgrade."""
        return ReplaceFunction(self.signature, self.stored_body, self.body)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return the difference that `alembic check` prints."""
        return ("replace_function", self.signature)


@dataclass
class ChangeTrigger(MigrateOperation):
    """Create or drop a trigger of a table."""

    table: str
    name: str
    definition: str | None
    stored_definition: str | None

    def reverse(self) -> "ChangeTrigger":
        """Return the operation for the downgrade."""
        return ChangeTrigger(self.table, self.name, self.stored_definition, self.definition)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return the difference that `alembic check` prints."""
        return ("change_trigger", self.name, self.table)


def stored_triggers(connection: Connection) -> dict[Trigger, str]:
    """Return the definitions of our triggers in the database."""
    return {
        (trigger.relname, trigger.tgname): trigger.definition
        for function in TRIGGER_FUNCTIONS
        for trigger in connection.execute(_STORED_TRIGGERS, {"function": function})
    }


def _compare_triggers(
    context: AutogenContext, upgrade: UpgradeOps, _schemas: set[str | None]
) -> PriorityDispatchResult:
    """Add the operations: what is dropped and the functions in front, what is created behind.

    PostgreSQL drops no column, and no table, that a trigger watches.
    """
    assert context.connection is not None
    tables = {table.name for table in context.sorted_tables}
    dropped = {each.table_name for each in upgrade.ops if isinstance(each, DropTableOp)}
    wanted: Mapping[Trigger, str] = {
        (table.name, name): definition
        for table in context.sorted_tables
        for name, definition in triggers_of(table).items()
    }
    stored = {
        trigger: definition
        for trigger, definition in stored_triggers(context.connection).items()
        if trigger[0] in tables | dropped
    }
    for trigger in sorted({*wanted, *stored}):
        old, new = stored.get(trigger), wanted.get(trigger)
        if _unquoted(old) == _unquoted(new):
            continue
        if old:
            upgrade.ops.insert(0, ChangeTrigger(*trigger, None, old))
        if new:
            upgrade.ops.append(ChangeTrigger(*trigger, new, None))
    upgrade.ops[:0] = _replaced_functions(context.connection, wanted.values())
    return PriorityDispatchResult.CONTINUE


def _replaced_functions(
    connection: Connection, triggers: Collection[str]
) -> Iterator[ReplaceFunction]:
    """Yield the operations for the functions that triggers call and that differ."""
    for signature, body in TRIGGER_FUNCTIONS.items():
        is_called = any(f"EXECUTE FUNCTION {signature[:-1]}" in each for each in triggers)
        stored_body = connection.scalar(_STORED_BODY, {"function": signature})
        if is_called and stored_body != body:
            yield ReplaceFunction(signature, body, stored_body)


def _unquoted(definition: str | None) -> str | None:
    """Return a definition without quotes, which PostgreSQL and SQLAlchemy set differently."""
    return definition and definition.replace('"', "")


@renderers.dispatch_for(ReplaceFunction)
def _render_function(_context: AutogenContext, operation: ReplaceFunction) -> str:
    """Return plain SQL, so that revisions do not depend on the library."""
    statement = f"DROP FUNCTION {operation.signature}"
    if operation.body is not None:
        statement = create_function(operation.signature, operation.body)
    return f"op.execute({statement!r})"


@renderers.dispatch_for(ChangeTrigger)
def _render_trigger(context: AutogenContext, operation: ChangeTrigger) -> str:
    """Return plain SQL, so that revisions do not depend on the library."""
    quote = context.dialect.identifier_preparer.quote
    statement = f"DROP TRIGGER {quote(operation.name)} ON {quote(operation.table)}"
    if operation.definition is not None:
        statement = operation.definition
    return f"op.execute({statement!r})"


PLUGIN.add_autogenerate_comparator(_compare_triggers, "schema", priority=DispatchPriority.LAST)
