"""Index orders.

The index of a field ends in the id, as every order does, so that a page in the order of the field
reads its own rows only. Each index is built beside the one before it, and the traffic waits for
nothing. Each step can be run again after one that failed.
"""

from collections.abc import Sequence

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision: str = "e27f40b9a6d3"
down_revision: str | None = "d2f60c81b9e7"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

FIELDS = {"song": "year", "cities": "population", "todo": "created_at"}


def upgrade() -> None:
    """Go to this revision; give up, rather than stop the traffic, when a lock is not to be had."""
    op.execute("SET LOCAL lock_timeout = '2s'")
    replace_indexes("id")


def downgrade() -> None:
    """Go back to the revision before."""
    op.execute("SET LOCAL lock_timeout = '2s'")
    replace_indexes()


def replace_indexes(*last: str) -> None:
    """Build the index of each field anew, and put it in the place of the old one."""
    alive = {"todo": sa.text("deleted_at IS NULL")}
    with op.get_context().autocommit_block():
        for table, field in FIELDS.items():
            old, new = f"ix_{table}_{field}", f"ix_{table}_{field}_new"
            op.drop_index(new, table, if_exists=True, postgresql_concurrently=True)
            op.create_index(
                new,
                table,
                [field, *last],
                postgresql_where=alive.get(table),
                postgresql_concurrently=True,
            )
            op.drop_index(old, table, if_exists=True, postgresql_concurrently=True)
            op.execute(f"ALTER INDEX {new} RENAME TO {old}")
