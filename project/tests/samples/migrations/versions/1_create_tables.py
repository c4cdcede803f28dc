"""Create the tables, as the classes say."""

from alembic import op

from tests.samples import resources
from tests.samples.tables import statements

revision = "1"
down_revision = None


def upgrade() -> None:
    """Create all tables."""
    resources.modules()  # importing them tells SQLModel of their tables
    for statement in statements():
        op.execute(statement)
