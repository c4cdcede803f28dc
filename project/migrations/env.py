"""The environment of Alembic: the tables of this service and its database."""

from app import resources
from app.settings import Settings
from songbook.db.migrations import run_migrations

resources.modules()  # imports them, which adds their tables to the metadata
run_migrations(Settings.load())
