"""A page of a list: the rows behind a cursor, in a total order, at a cost that does not grow with the depth."""

import base64
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Any, NamedTuple
from urllib.parse import urlencode

from asyncpg import Record as Row
from sqlalchemy import BigInteger, ColumnElement, Select, Text, any_, bindparam, func, literal_column, or_, select, tuple_, union_all
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import SQLModel
from starlette.requests import Request
from starlette.responses import Response

from app.answers import Answer
from app.db import Query
from app.filters import CONTAINS, WORDS, Condition, Key, ask, offered
from app.parameters import list_parameters
from app.preconditions import Tags, if_none_match, revision
from app.problems import BadCursor
from app.records import Record, table_of, words
from app.routing import guard
from app.statements import SHAPES, Statement, json_of, public_columns

SEPARATOR = ",\n"
"""What stands between two rows: PostgreSQL escapes line ends inside of a text, so it occurs nowhere else."""

_DIGEST = 9


class Shape(NamedTuple):
    """All that the SQL of a page depends on; `after` says for each key whether the cursor's value is not null."""

    conditions: tuple[Condition, ...]
    order: tuple[Key, ...]
    after: tuple[bool, ...] | None
    counted: bool


class Page:
    """One page of a list, asked for by one request."""

    def __init__(
        self, model: type[Record], public: type[SQLModel], request: Request, if_none_match: Tags | None
    ) -> None:
        self.asked = ask(model, public, request.scope["query_string"])
        self.path = request.scope["path"]
        self.if_none_match = if_none_match
        self.bound_to = self._bound_to(model, public)
        cursor = self._cursor(model, public)
        after = None if cursor is None else tuple(value is not None for value in cursor)
        shape = Shape(self.asked.conditions, self.asked.order, after, self.asked.counted)
        values = {f"k{place}": value for place, value in enumerate(cursor or ())}
        values |= {**self.asked.values, "rows": self.asked.limit + 1}
        self.query: Query = page_statement(model, public, shape).of(values)

    def answer(self, row: Row | None) -> Response:
        """Answer with the page that the database wrote, and the address of the next one."""
        assert row is not None, "an aggregate gives a row"
        content, rows = row[0] or "", row[1]
        headers = {}
        if rows > self.asked.limit:
            content = content.rpartition(SEPARATOR)[0]
            headers["link"] = f'<{self._next(content.rpartition(SEPARATOR)[2])}>; rel="next"'
        if self.asked.counted:
            headers["x-total-count"] = str(row[2])
        content = f"[{content}]"
        seen = content + str(headers)
        tag = f'"{sha256(seen.encode()).hexdigest()[:32]}"'
        if self.if_none_match and self.if_none_match.match_weakly(tag):
            return Answer("", tag, 304, **headers)
        return Answer(content, tag, **headers)

    def _bound_to(self, model: type[Record], public: type[SQLModel]) -> str:
        """Return what a cursor belongs to: the list, its filters and its order."""
        filters = sorted(pair for pair in self.asked.pairs if pair[0] not in {"limit", "after", "count", "sort"})
        return json.dumps([table_of(model).name, revision(public), self.asked.order, filters])

    def _next(self, last_row: str) -> str:
        """Return the address of the page behind a row, in the terms and under the prefix that the client used."""
        row = json.loads(last_row, parse_float=str)
        values = [_as_asked(row[key.field]) for key in self.asked.order]
        pairs = [pair for pair in self.asked.pairs if pair[0] != "after"]
        return f"{self.path}?{urlencode([*pairs, ('after', encode_cursor(values, self.bound_to))])}"

    def _cursor(self, model: type[Record], public: type[SQLModel]) -> list[Any] | None:
        """Return the values of the last row seen; raise BadCursor when they are not of this list."""
        if self.asked.after is None:
            return None
        filters = offered(model, public)
        values = decode_cursor(self.asked.after, self.bound_to)
        return [None if value is None else filters[key.field].read(value) for key, value in zip(self.asked.order, values, strict=True)]


def page_of(model: type[Record], public: type[SQLModel]) -> Callable[[Request], Awaitable[Page]]:
    """Return the guard that reads which page of a list is asked for; raise its problem (400, 422)."""

    @guard(*list_parameters(model, public), *if_none_match.parameters, refuses=(400, 422))
    async def page(request: Request) -> Page:
        return Page(model, public, request, await if_none_match(request))

    return page


def encode_cursor(values: Sequence[str | None], bound_to: str) -> str:
    """Return an opaque cursor for the row with these values, valid only for `bound_to`.

    The digest finds cursors that were cut, mistyped or taken from another list. It keeps no secret: whoever makes a
    cursor of his own has merely named a place in the list.
    """
    content = json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_digest(content, bound_to) + content).decode().rstrip("=")


def decode_cursor(cursor: str, bound_to: str) -> list[str | None]:
    """Return the values of a cursor; raise BadCursor when it was not made for `bound_to`."""
    try:
        decoded = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise BadCursor from None
    digest, content = decoded[:_DIGEST], decoded[_DIGEST:]
    if digest != _digest(content, bound_to) or not base64.urlsafe_b64encode(decoded).decode().rstrip("=") == cursor:
        raise BadCursor
    values: list[str | None] = json.loads(content)
    return values


def _digest(content: bytes, bound_to: str) -> bytes:
    return sha256(bound_to.encode() + b"\0" + content).digest()[:_DIGEST]


def _as_asked(value: Any) -> str | None:
    """Return a JSON value as a query string would spell it."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value)


@lru_cache(SHAPES)
def page_statement(model: type[Record], public: type[SQLModel], shape: Shape) -> Statement:
    """Compile the statement of a page: the rows as JSON, one more than asked for, and how many they are."""
    table = table_of(model)
    where = [_condition(model, condition) for condition in shape.conditions]
    columns = public_columns(table, public)
    order = [_ordered(table.c[key.field], key) for key in shape.order]
    rows = bindparam("rows", type_=BigInteger)
    ranges = [[]] if shape.after is None else list(_ranges(model, shape.order, shape.after))
    branches = [select(*columns).where(*where, *beyond).order_by(*order).limit(rows) for beyond in ranges]
    if len(branches) == 1:
        shown = branches[0].subquery("shown")
    else:
        union = union_all(*branches).subquery("ranges") if branches else select(*columns).where(literal_column("false")).subquery("ranges")
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
        query = func.plainto_tsquery(literal_column("'simple'::regconfig"), bindparam("q", type_=Text))
        return words(model).op("@@")(query)
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

    A single condition with OR would have the index read, and thrown away, every row before the page. NULLs come last in
    ascending and first in descending order, as PostgreSQL sorts them.
    """
    table = table_of(model)
    same: list[ColumnElement[bool]] = []
    place = 0
    while place < len(order):
        key, column = order[place], table.c[order[place].field]
        if not after[place]:
            if key.descending:
                yield [*same, column.is_not(None)]
            same.append(column.is_(None))
            place += 1
            continue
        end = place + 1
        while end < len(order) and after[end] and order[end].descending == key.descending:
            end += 1
        columns = [table.c[part.field] for part in order[place:end]]
        values = [bindparam(f"k{place + nth}", type_=part.type) for nth, part in enumerate(columns)]
        run, seen = tuple_(*columns), tuple_(*values)
        yield [*same, run < seen if key.descending else run > seen]
        for part, value in zip(columns, values, strict=True):
            if part.nullable and not key.descending:
                yield [*same, part.is_(None)]
            same.append(part == value)
        place = end
