"""One record: its statements, entity tags, responses, and its write as a transaction."""

from songbook.crud.idempotency import read_key
from songbook.crud.idempotency_table import keys_table
from songbook.crud.preconditions import (
    IF_NONE_MATCH,
    IfMatch,
    IfNoneMatch,
    Tags,
    narrowed,
    read_if_none_match,
    revision,
)
from songbook.crud.responses import (
    Here,
    answer_changed,
    answer_created,
    answer_found,
    answer_removed,
)
from songbook.crud.statements import changed, created, found, removed, restored
from songbook.crud.transactions import OnceDep, Write, WriteDep, begin_write

__all__ = [
    "IF_NONE_MATCH",
    "Here",
    "IfMatch",
    "IfNoneMatch",
    "OnceDep",
    "Tags",
    "Write",
    "WriteDep",
    "answer_changed",
    "answer_created",
    "answer_found",
    "answer_removed",
    "begin_write",
    "changed",
    "created",
    "found",
    "keys_table",
    "narrowed",
    "read_if_none_match",
    "read_key",
    "removed",
    "restored",
    "revision",
]
