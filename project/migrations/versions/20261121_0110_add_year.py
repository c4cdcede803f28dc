"""Add year.

On a table with rows nothing waits for long: the column comes without a rewrite, the CHECK is
validated under a lock that lets writers pass, the index is built beside the traffic. Each step can
be run again after one that failed.
"""

from collections.abc import Sequence

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision: str = "a41d5c0e7b26"
down_revision: str | None = "16d3deac1101"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Go to this revision; give up, rather than stop the traffic, when a lock is not to be had."""
    op.execute("SET LOCAL lock_timeout = '2s'")
    op.add_column("song", sa.Column("year", sa.Integer(), nullable=True), if_not_exists=True)
    op.execute("ALTER TABLE song DROP CONSTRAINT IF EXISTS ck_song_year")
    op.create_check_constraint(
        op.f("ck_song_year"), "song", "year >= 1 AND year <= 9999", postgresql_not_valid=True
    )
    with op.get_context().autocommit_block():
        op.execute("ALTER TABLE song VALIDATE CONSTRAINT ck_song_year")
        op.drop_index(op.f("ix_song_year"), "song", if_exists=True, postgresql_concurrently=True)
        op.create_index(op.f("ix_song_year"), "song", ["year"], postgresql_concurrently=True)


def downgrade() -> None:
    """Go back to the revision before."""
    op.execute("SET LOCAL lock_timeout = '2s'")
    op.drop_column("song", "year")
