"""Add search_text.

The marks that end a word are written once, in a function that the indexes of the words call. Each
index is built beside the one before it, and the traffic waits for nothing. PostgreSQL writes the
body of the function into an expression, so that searches of the release before use the new index.
Each step can be run again after one that failed.
"""

from collections.abc import Callable, Sequence

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision: str = "7b2e94d1c6f8"
down_revision: str | None = "c3f8e1a95d02"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

MARKS = (
    "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
    "\u00a0\u00a1\u00ab\u00b7\u00bb\u00bf\u2013\u2014\u2018\u2019\u201a\u201c\u201d\u201e\u2022"
    "\u2026\u2039\u203a\u3000\u3001\u3002\u300c\u300d\u300e\u300f\u30fb\uff01\uff08\uff09\uff0c"
    "\uff0e\uff1a\uff1b\uff1f"
)
NAME = "(((username || ' ') || slug) || ' ') || email"
TEXTS = {
    "song": "(name || ' ') || artist",
    "cities": "name",
    "todo": "content",
    "users": f"(((({NAME}) || ' ') || coalesce(first_name, '')) || ' ') || coalesce(last_name, '')",
}


def translate(texts: str) -> str:
    """Return the expression that makes a space of each mark."""
    marks = MARKS.replace("'", "''")
    return f"translate({texts}, '{marks}', '{' ' * len(MARKS)}')"


def upgrade() -> None:
    """Go to this revision; give up, rather than stop the traffic, when a lock is not to be had."""
    op.execute("SET LOCAL lock_timeout = '2s'")
    op.execute(
        "CREATE OR REPLACE FUNCTION search_text(text) RETURNS text"
        f" LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT AS $$SELECT {translate('$1')}$$"
    )
    replace_indexes("search_text({})".format)


def downgrade() -> None:
    """Go back to the revision before."""
    op.execute("SET LOCAL lock_timeout = '2s'")
    replace_indexes(translate)
    op.execute("DROP FUNCTION search_text(text)")


def replace_indexes(search_text: Callable[[str], str]) -> None:
    """Build the index of the words of each table anew, and put it in the place of the old one."""
    alive = {"todo": sa.text("deleted_at IS NULL")}
    with op.get_context().autocommit_block():
        for table, texts in TEXTS.items():
            old, new = f"ix_{table}_words", f"ix_{table}_words_new"
            op.drop_index(new, table, if_exists=True, postgresql_concurrently=True)
            op.create_index(
                new,
                table,
                [sa.literal_column(f"to_tsvector('simple'::regconfig, {search_text(texts)})")],
                postgresql_using="gin",
                postgresql_where=alive.get(table),
                postgresql_concurrently=True,
            )
            op.drop_index(old, table, if_exists=True, postgresql_concurrently=True)
            op.execute(f"ALTER INDEX {new} RENAME TO {old}")
