"""Add next_version.

A trigger increments the version of a row that an UPDATE changes without doing so: no writer beside
the service can change a row that a client believes to know. Statements of the service set the
version themselves, so it may serve before, while and after this runs.
"""

from collections.abc import Sequence

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision: str = "d2f60c81b9e7"
down_revision: str | None = "7b2e94d1c6f8"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# A login may store a better hash of the same password, which is no change to clients.
NEXT_VERSION = (
    "CREATE FUNCTION next_version() RETURNS trigger LANGUAGE plpgsql AS $$"
    "BEGIN IF current_setting('songbook.rehash', true) = 'on' THEN RETURN NEW; END IF;"
    " NEW.version := OLD.version + 1;"
    " IF TG_NARGS > 0 THEN NEW.updated_at := clock_timestamp(); END IF;"
    " RETURN NEW; END$$"
)
ARGUMENTS = {"song": "", "cities": "", "todo": "'updated_at'", "users": ""}


def upgrade() -> None:
    """Go to this revision; give up, rather than stop the traffic, when a lock is not to be had."""
    op.execute("SET LOCAL lock_timeout = '2s'")
    op.execute(NEXT_VERSION)
    for table, argument in ARGUMENTS.items():
        op.execute(
            f"CREATE TRIGGER next_version BEFORE UPDATE ON {table} FOR EACH ROW"
            f" WHEN (OLD.version = NEW.version) EXECUTE FUNCTION next_version({argument})"
        )


def downgrade() -> None:
    """Go back to the revision before."""
    op.execute("SET LOCAL lock_timeout = '2s'")
    for table in ARGUMENTS:
        op.execute(f"DROP TRIGGER next_version ON {table}")
    op.execute("DROP FUNCTION next_version()")
