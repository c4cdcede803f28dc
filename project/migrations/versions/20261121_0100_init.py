"""Init."""

from collections.abc import Sequence

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision: str = "16d3deac1101"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

MARKS = (
    "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
    "\u00a0\u00a1\u00ab\u00b7\u00bb\u00bf\u2013\u2014\u2018\u2019\u201a\u201c\u201d\u201e\u2022"
    "\u2026\u2039\u203a\u3000\u3001\u3002\u300c\u300d\u300e\u300f\u30fb\uff01\uff08\uff09\uff0c"
    "\uff0e\uff1a\uff1b\uff1f"
)
WORDS = (
    "to_tsvector('simple'::regconfig, translate((name || ' ') || artist, '"
    + MARKS.replace("'", "''")
    + f"', '{' ' * len(MARKS)}'))"
)


def upgrade() -> None:
    """Go to this revision; give up, rather than stop the traffic, when a lock is not to be had."""
    op.execute("SET LOCAL lock_timeout = '2s'")
    op.create_table(
        "song",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("name", sqlmodel.sql.sqltypes.AutoString(length=255), nullable=False),
        sa.Column("artist", sqlmodel.sql.sqltypes.AutoString(length=255), nullable=False),
        sa.CheckConstraint("char_length(artist) >= 1", name=op.f("ck_song_artist")),
        sa.CheckConstraint("char_length(name) >= 1", name=op.f("ck_song_name")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_song")),
    )
    op.create_index("ix_song_words", "song", [sa.literal_column(WORDS)], postgresql_using="gin")


def downgrade() -> None:
    """Go back to the revision before."""
    op.execute("SET LOCAL lock_timeout = '2s'")
    op.drop_table("song")
