"""The size of a page: if its rows are long it has fewer than the limit."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Date,
    DateTime,
    Double,
    Integer,
    Subquery,
    Text,
    Uuid,
    cast,
    func,
    literal_column,
    or_,
    select,
)

from songbook.db import MAX_CHILDREN, MAX_STATEMENTS
from songbook.models import Relation, Representation, column_types

MAX_PAGE_BYTES = 1024 * 1024
"""The maximum size of a page in bytes; only a page of one row may exceed it."""

SEPARATOR = ",\n"
"""Separates two rows: PostgreSQL escapes line ends in JSON, so it occurs nowhere else."""

_FIXED = (Boolean, Date, DateTime, Double, Integer, Uuid)
_ZERO: ColumnElement[int] = literal_column("0")


@lru_cache(MAX_STATEMENTS)
def max_row_bytes(
    shown: Representation, expand: tuple[Relation, ...] = (), fields: tuple[str, ...] = ()
) -> int:
    """Return the maximum size of a row as JSON, in bytes; a computed member may have any size."""
    types = column_types(shown.table)
    sizes = [
        len(name) + types[name].max_bytes if name in types else MAX_PAGE_BYTES
        for name in fields or shown.members
    ]
    for relation in expand:
        number = MAX_CHILDREN if relation.many else 1
        sizes.append(number * max_row_bytes(relation.shown))
    return sum(sizes)


def first_rows(rows: Subquery, members: Sequence[str], name: str) -> Subquery:
    """Return the rows up to the one with which they exceed MAX_PAGE_BYTES, but always two.

    Only the `members` are measured, since a page shows no others. PostgreSQL knows the length of a
    long text without reading it, and writes no JSON of the other rows.
    """
    shown = (rows.c[name] for name in members)
    lengths = [_length(column) for column in shown if not isinstance(column.type, _FIXED)]
    size = sum((func.coalesce(length, _ZERO) for length in lengths), start=_ZERO)
    before = func.sum(size).over(rows=(None, 0)) - size
    measured = select(*rows.c, before.label("_before"), func.row_number().over().label("_nth"))
    inner = measured.subquery("_measured")
    fits = inner.c["_before"] <= literal_column(str(MAX_PAGE_BYTES))
    is_kept = or_(fits, inner.c["_nth"] <= literal_column("2"))
    return select(*(inner.c[column.name] for column in rows.c)).where(is_kept).subquery(name)


def cut(content: str) -> str | None:
    """Return the rows of a page that fit into MAX_PAGE_BYTES, at least one; None if all do."""
    if len(content) <= MAX_PAGE_BYTES // 4:  # no character takes more bytes
        return None
    encoded, separator = content.encode(), SEPARATOR.encode()
    if len(encoded) <= MAX_PAGE_BYTES:
        return None
    end = encoded.rfind(separator, 0, MAX_PAGE_BYTES)
    if end < 0:
        end = encoded.find(separator)
    return encoded[:end].decode() if end > 0 else None


def _length(column: ColumnElement[Any]) -> ColumnElement[int]:
    return func.octet_length(cast(column, Text))
