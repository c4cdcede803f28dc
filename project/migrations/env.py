"""Tells Alembic of the tables of this service, and of its database."""

from app import resources
from app.settings import Settings
from songbook.db.migrations import run_migrations

resources.modules()  # importing them tells SQLModel of their tables
run_migrations(Settings.load())
