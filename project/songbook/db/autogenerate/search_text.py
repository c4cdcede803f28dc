"""A plugin of Alembic's autogenerate for the function `search_text`."""

from dataclasses import dataclass
from typing import Any

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import MigrateOperation, UpgradeOps
from alembic.runtime.plugins import Plugin
from alembic.util import DispatchPriority, PriorityDispatchResult
from sqlalchemy import text

from songbook.models import SEARCH_TEXT, SEARCH_TEXT_BODY, create_search_text

PLUGIN = Plugin("songbook.search_text")

_STORED_BODY = text("SELECT prosrc FROM pg_proc WHERE oid = to_regprocedure(:function)")
_INDEXES = text(
    "SELECT objid::regclass::text FROM pg_depend WHERE classid = 'pg_class'::regclass"
    " AND refclassid = 'pg_proc'::regclass AND refobjid = to_regprocedure(:function) ORDER BY 1"
)


@dataclass
class ReplaceSearchText(MigrateOperation):
    """Create, replace or drop the function, and rebuild the indexes that use it.

    REINDEX blocks writes: for a large table use REINDEX INDEX CONCURRENTLY in an
    `autocommit_block` instead.
    """

    body: str | None
    stored_body: str | None
    indexes: list[str]

    def reverse(self) -> "ReplaceSearchText":
        """Return the operation for the downgrade."""
        return ReplaceSearchText(self.stored_body, self.body, self.indexes)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return the difference that `alembic check` prints."""
        return ("replace_function", SEARCH_TEXT)


def _compare_search_text(
    context: AutogenContext, upgrade: UpgradeOps, _schemas: set[str | None]
) -> PriorityDispatchResult:
    """Add the operation if an index needs the function; one that none needs is not dropped."""
    indexes = [index for table in context.sorted_tables for index in table.indexes]
    called = any("search_text(" in str(part) for index in indexes for part in index.expressions)
    if context.connection is not None and called:
        function = {"function": SEARCH_TEXT}
        stored_body = context.connection.scalar(_STORED_BODY, function)
        if stored_body != SEARCH_TEXT_BODY:
            rebuilt = [*context.connection.scalars(_INDEXES, function)]
            upgrade.ops.insert(0, ReplaceSearchText(SEARCH_TEXT_BODY, stored_body, rebuilt))
    return PriorityDispatchResult.CONTINUE


@renderers.dispatch_for(ReplaceSearchText)
def _render(_context: AutogenContext, operation: ReplaceSearchText) -> list[str]:
    """Return plain SQL, so that revisions do not depend on the library."""
    if operation.body is None:
        statements = [f"DROP FUNCTION {SEARCH_TEXT}"]
    else:
        rebuilt = [f"REINDEX INDEX {index}" for index in operation.indexes]
        statements = [create_search_text(operation.body), *rebuilt]
    return [f"op.execute({statement!r})" for statement in statements]


PLUGIN.add_autogenerate_comparator(_compare_search_text, "schema", priority=DispatchPriority.FIRST)
