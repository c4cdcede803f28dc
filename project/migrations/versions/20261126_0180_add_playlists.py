"""Add playlists."""

from collections.abc import Sequence

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision: str = "296dfd39fa8b"
down_revision: str | None = "e27f40b9a6d3"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

ARGUMENTS = {"playlist": "'updated_at'", "entry": ""}


def upgrade() -> None:
    """Go to this revision; give up, rather than stop the traffic, when a lock is not to be had."""
    op.execute("SET LOCAL lock_timeout = '2s'")
    add_playlists()
    add_entries()
    for table, argument in ARGUMENTS.items():
        op.execute(
            f"CREATE TRIGGER next_version BEFORE UPDATE ON {table} FOR EACH ROW"
            f" WHEN (OLD.version = NEW.version) EXECUTE FUNCTION next_version({argument})"
        )


def add_playlists() -> None:
    """Create the table of the playlists."""
    moment = sqlmodel.sql.sqltypes.UTCDateTime()
    op.create_table(
        "playlist",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("owner_id", sa.BigInteger(), nullable=False),
        sa.Column("created_at", moment, server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", moment, server_default=sa.text("now()"), nullable=False),
        sa.Column("name", sqlmodel.sql.sqltypes.AutoString(length=255), nullable=False),
        sa.Column("is_public", sa.Boolean(), nullable=False),
        sa.CheckConstraint("char_length(name) >= 1", name=op.f("ck_playlist_name")),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["users.id"], name=op.f("fk_playlist_owner_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_playlist")),
    )
    op.create_index("ix_playlist_owner_id", "playlist", ["owner_id", "id"])
    op.create_index(op.f("ix_playlist_created_at"), "playlist", ["owner_id", "created_at", "id"])
    is_public = sa.text("is_public")
    op.create_index("ix_playlist_public", "playlist", ["id"], postgresql_where=is_public)
    words = sa.literal_column("to_tsvector('simple'::regconfig, search_text(name))")
    op.create_index("ix_playlist_words", "playlist", [words], postgresql_using="gin")


def add_entries() -> None:
    """Create the table of the entries."""
    op.create_table(
        "entry",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("song_id", sa.BigInteger(), nullable=False),
        sa.Column("playlist_id", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Double(), nullable=False),
        sa.CheckConstraint(
            "position > '-Infinity' AND position < 'Infinity'", name=op.f("ck_entry_position")
        ),
        sa.ForeignKeyConstraint(
            ["song_id"], ["song.id"], name=op.f("fk_entry_song_id_song"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["playlist_id"],
            ["playlist.id"],
            name=op.f("fk_entry_playlist_id_playlist"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_entry")),
    )
    op.create_index("ix_entry_order", "entry", ["playlist_id", "position", "id"])
    op.create_index(op.f("ix_entry_playlist_id"), "entry", ["playlist_id", "id"])
    op.create_index(op.f("ix_entry_song_id"), "entry", ["song_id", "id"])


def downgrade() -> None:
    """Go back to the revision before."""
    op.execute("SET LOCAL lock_timeout = '2s'")
    for table in reversed(ARGUMENTS):
        op.drop_table(table)
