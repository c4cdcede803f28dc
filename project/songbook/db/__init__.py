"""PostgreSQL: one engine, one pool, compiled statements."""

from songbook.db.connect import SilentError, check_database, located, opened_database
from songbook.db.database import ATTEMPTS, RETRIED, Database, Executor, SingleStatement, pause
from songbook.db.pool import GIVEN_UP
from songbook.db.statements import (
    DIALECT,
    NOTHING,
    SHAPES,
    Query,
    Statement,
    document,
    json_of,
    public_columns,
)

__all__ = [
    "ATTEMPTS",
    "DIALECT",
    "GIVEN_UP",
    "NOTHING",
    "RETRIED",
    "SHAPES",
    "Database",
    "Executor",
    "Query",
    "SilentError",
    "SingleStatement",
    "Statement",
    "check_database",
    "document",
    "json_of",
    "located",
    "opened_database",
    "pause",
    "public_columns",
]
