"""Songbook: families of SQLModel classes become asynchronous REST resources on PostgreSQL."""

__version__ = "0.1.0"
