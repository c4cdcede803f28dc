"""What autogenerate compares and writes, beyond what Alembic does by itself."""

from typing import Any

from sqlalchemy import MetaData

from songbook.db.autogenerate import search_text, version_trigger


def autogenerate_options(metadata: MetaData) -> dict[str, Any]:
    """Return options for `context.configure`."""
    return {
        "target_metadata": metadata,
        "compare_server_default": True,
        "autogenerate_plugins": [
            "alembic.autogenerate.*",
            "alembic.ext.checkconstraint_byname",
            search_text.PLUGIN.name,
            version_trigger.PLUGIN.name,
        ],
    }
