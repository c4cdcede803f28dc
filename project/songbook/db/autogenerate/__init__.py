"""What autogenerate compares and writes, beyond what Alembic does by itself."""

from typing import Any, Literal

from alembic.autogenerate.api import AutogenContext
from alembic.runtime.environment import NameFilterParentNames, NameFilterType
from sqlalchemy import CheckConstraint, Connection, MetaData
from sqlalchemy.types import TypeEngine

from songbook.db.autogenerate import new_columns, ordering, search_text, triggers
from songbook.db.autogenerate.checks import render_check


def autogenerate_options(metadata: MetaData, connection: Connection | None) -> dict[str, Any]:
    """Return options for `context.configure`."""

    def include_name(
        name: str | None, kind: NameFilterType, _parents: NameFilterParentNames
    ) -> bool:
        """Leave out tables of others: those without a model and without our trigger."""
        if kind != "table" or name in metadata.tables:
            return True
        marked = triggers.stored_triggers(connection) if connection is not None else {}
        return name in {table for table, _ in marked}

    return {
        "target_metadata": metadata,
        "compare_server_default": True,
        "include_name": include_name,
        "render_item": _render_item,
        "process_revision_directives": new_columns.rewriter,
        "autogenerate_plugins": [
            "alembic.autogenerate.*",
            "alembic.ext.checkconstraint_byname",
            search_text.PLUGIN.name,
            ordering.PLUGIN.name,
            triggers.PLUGIN.name,
        ],
    }


def _render_item(_kind: str, item: Any, context: AutogenContext) -> str | Literal[False]:
    """Return the code of a constraint; import the module of a type that is no SQLAlchemy's."""
    if isinstance(item, CheckConstraint):
        return render_check(item)
    if isinstance(item, TypeEngine):
        module = type(item).__module__
        if module.partition(".")[0] not in {"sqlalchemy", "sqlmodel"}:
            context.imports.add(f"import {module}")
    return False
