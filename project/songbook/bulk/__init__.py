"""Many rows in one body, or in one response."""

from songbook.bulk.copy import OnConflict, bulk_settings, copy_out
from songbook.bulk.exports import Export
from songbook.bulk.imports import FEEDS, PIECE, OnError, imports_of, kept, store, unstored
from songbook.bulk.spool import Spool

__all__ = [
    "FEEDS",
    "PIECE",
    "Export",
    "OnConflict",
    "OnError",
    "Spool",
    "bulk_settings",
    "copy_out",
    "imports_of",
    "kept",
    "store",
    "unstored",
]
