"""The statement of a page: its rows as JSON, read from an index wherever one serves the order."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    any_,
    bindparam,
    func,
    literal_column,
    or_,
    select,
    tuple_,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import SQLModel

from app.compiled import SHAPES, Statement, json_of, public_columns
from app.filters import CONTAINS
from app.queries import WORDS, Condition, Key
from app.records import Record, living, searched_words, table_of
from app.words import all_words

SEPARATOR = ",\n"
"""What stands between two rows: PostgreSQL escapes a text's line ends, so it is nowhere else."""


class Shape(NamedTuple):
    """All that the SQL of a page depends on; `after`: which values of the cursor are not null."""

    conditions: tuple[Condition, ...]
    order: tuple[Key, ...]
    after: tuple[bool, ...] | None
    counted: bool


@lru_cache(SHAPES)
def page_statement(model: type[Record], public: type[SQLModel], shape: Shape) -> Statement:
    """Compile the statement of a page: the rows as JSON, one more than asked for; their number."""
    table = table_of(model)
    where = living(model) + [_condition(model, condition) for condition in shape.conditions]
    columns = public_columns(table, public)
    order = [_ordered(table.c[key.field], key) for key in shape.order]
    rows = bindparam("rows", type_=BigInteger)
    ranges = [[]] if shape.after is None else list(_ranges(model, shape.order, shape.after))
    branches = [
        select(*columns).where(*where, *beyond).order_by(*order).limit(rows)
        for beyond in ranges or [[literal_column("false")]]
    ]
    shown = branches[0].subquery("shown")
    if len(branches) > 1:
        union = union_all(*branches).subquery("ranges")
        outer = [_ordered(union.c[key.field], key) for key in shape.order]
        shown = select(union).order_by(*outer).limit(rows).subquery("shown")
    document = func.string_agg(json_of(shown), literal_column("E',\\n'"))
    counts: list[ColumnElement[int]] = [func.count()]
    if shape.counted:
        counts.append(select(func.count()).select_from(table).where(*where).scalar_subquery())
    return Statement(select(document, *counts).select_from(shown))


def _ordered(column: ColumnElement[Any], key: Key) -> ColumnElement[Any]:
    return column.desc() if key.descending else column.asc()


def _condition(model: type[Record], condition: Condition) -> ColumnElement[bool]:
    """Return the SQL of a filter."""
    if condition.comparison == WORDS:
        return searched_words(model).op("@@")(all_words(condition.bind))
    column = table_of(model).c[condition.field]
    if not condition.bind:
        return column.is_(None)
    value = bindparam(condition.bind, type_=ARRAY(column.type) if condition.many else column.type)
    comparisons: dict[str, Callable[[], ColumnElement[bool]]] = {
        "": lambda: column == (any_(value) if condition.many else value),
        CONTAINS: lambda: column.ilike(value),
        "_gt": lambda: column > value,
        "_gte": lambda: column >= value,
        "_lt": lambda: column < value,
        "_lte": lambda: column <= value,
    }
    compared = comparisons[condition.comparison]()
    return or_(compared, column.is_(None)) if condition.or_null else compared


def _ranges(
    model: type[Record], order: tuple[Key, ...], after: tuple[bool, ...]
) -> Iterator[list[ColumnElement[bool]]]:
    """Give the conditions of the index ranges that together lie behind the cursor.

    A single condition with OR would have every row before the page read and thrown away. NULLs come
    last in ascending and first in descending order, as PostgreSQL sorts them.
    """
    table = table_of(model)
    same: list[ColumnElement[bool]] = []
    place = 0
    while place < len(order):
        descending = order[place].descending
        run = list(_run(order, after, place))
        columns = [table.c[order[nth].field] for nth in run]
        values = [bindparam(f"k{nth}", type_=table.c[order[nth].field].type) for nth in run]
        if run:
            ends, seen = tuple_(*columns), tuple_(*values)
            yield [*same, ends < seen if descending else ends > seen]
        for column, value in zip(columns, values, strict=True):
            if column.nullable and not descending:
                yield [*same, column.is_(None)]
            same.append(column == value)
        if not run:
            column = table.c[order[place].field]
            if descending:
                yield [*same, column.is_not(None)]
            same.append(column.is_(None))
        place += len(run) or 1


def _run(order: tuple[Key, ...], after: tuple[bool, ...], start: int) -> Iterator[int]:
    """Give the places from `start` on that have values and one direction: one row comparison."""
    for place in range(start, len(order)):
        if not after[place] or order[place].descending != order[start].descending:
            return
        yield place
