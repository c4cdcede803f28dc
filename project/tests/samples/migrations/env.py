"""Tells Alembic of the database of the sample."""

from songbook.db.migrations import run_migrations
from tests.samples.settings import Settings

run_migrations(Settings.load())
