"""What autogenerate compares and writes, beyond what Alembic does by itself."""

from typing import Any

from alembic.runtime.environment import NameFilterParentNames, NameFilterType
from sqlalchemy import Connection, MetaData

from songbook.db.autogenerate import search_text, version_trigger


def autogenerate_options(metadata: MetaData, connection: Connection | None) -> dict[str, Any]:
    """Return options for `context.configure`."""

    def include_name(
        name: str | None, kind: NameFilterType, _parents: NameFilterParentNames
    ) -> bool:
        """Leave out tables of others: those without a model and without our trigger."""
        if kind != "table" or name in metadata.tables:
            return True
        return connection is not None and name in version_trigger.stored_triggers(connection)

    return {
        "target_metadata": metadata,
        "compare_server_default": True,
        "include_name": include_name,
        "autogenerate_plugins": [
            "alembic.autogenerate.*",
            "alembic.ext.checkconstraint_byname",
            search_text.PLUGIN.name,
            version_trigger.PLUGIN.name,
        ],
    }
