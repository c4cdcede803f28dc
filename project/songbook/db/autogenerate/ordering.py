"""A plugin of Alembic's autogenerate for the order of tables and their foreign keys."""

from collections.abc import Sequence
from typing import TypeGuard

from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import (
    CreateForeignKeyOp,
    CreateTableOp,
    DropConstraintOp,
    DropTableOp,
    UpgradeOps,
)
from alembic.runtime.plugins import Plugin
from alembic.util import DispatchPriority, PriorityDispatchResult
from sqlalchemy import ForeignKeyConstraint
from sqlalchemy.schema import SchemaItem

PLUGIN = Plugin("songbook.ordering")


def _order_tables(
    _context: AutogenContext, upgrade: UpgradeOps, _schemas: set[str | None]
) -> PriorityDispatchResult:
    """Write foreign keys between new tables behind all of them; drop tables last, keys before."""
    created = [each for each in upgrade.ops if isinstance(each, CreateTableOp)]
    dropped = [each for each in upgrade.ops if isinstance(each, DropTableOp)]
    others = [each for each in upgrade.ops if not isinstance(each, CreateTableOp | DropTableOp)]
    restored = [each.reverse() for each in dropped]
    added = [CreateForeignKeyOp.from_constraint(key) for key in _detach(created)]
    removed = [DropConstraintOp.from_constraint(key) for key in _detach(restored)]
    dropped = [DropTableOp.from_table(each.to_table()) for each in restored]
    upgrade.ops[:] = [*created, *added, *others, *removed, *dropped]
    return PriorityDispatchResult.CONTINUE


def _detach(tables: Sequence[CreateTableOp]) -> list[ForeignKeyConstraint]:
    """Remove the foreign keys that refer to another of the tables, and return them.

    Those with `use_alter` as well: `op.create_table` would leave them out.
    """
    names = {table.table_name for table in tables}
    detached: list[ForeignKeyConstraint] = []

    def is_detached(item: SchemaItem) -> TypeGuard[ForeignKeyConstraint]:
        if not isinstance(item, ForeignKeyConstraint):
            return False
        return item.use_alter or item.referred_table.name in names - {item.table.name}

    for table in tables:
        detached += filter(is_detached, table.columns)
        table.columns = [each for each in table.columns if not is_detached(each)]
    return detached


PLUGIN.add_autogenerate_comparator(_order_tables, "schema", priority=DispatchPriority.LAST)
