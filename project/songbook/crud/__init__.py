"""One record: its statements, entity tags, responses, and writes as transactions."""

from songbook.crud.dependencies import Id, ReadDep, record_id
from songbook.crud.idempotency import read_key
from songbook.crud.idempotency_table import KEYS
from songbook.crud.preconditions import (
    IF_NONE_MATCH,
    IfMatch,
    IfNoneMatch,
    Tags,
    if_none_match,
    narrowed,
    revision,
)
from songbook.crud.records import Records
from songbook.crud.sessions import SessionDep
from songbook.crud.transactions import Transaction, TransactionDep, WriteDep, begin_bulk

__all__ = [
    "IF_NONE_MATCH",
    "KEYS",
    "Id",
    "IfMatch",
    "IfNoneMatch",
    "ReadDep",
    "Records",
    "SessionDep",
    "Tags",
    "Transaction",
    "TransactionDep",
    "WriteDep",
    "begin_bulk",
    "if_none_match",
    "narrowed",
    "read_key",
    "record_id",
    "revision",
]
