"""A page of a list: the rows behind a cursor, in a total order, at a cost that no depth raises."""

import json
from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from typing import Any
from urllib.parse import quote, urlencode

from asyncpg import Record as Row
from sqlmodel import SQLModel
from starlette.requests import Request
from starlette.responses import Response

from app.answers import Answer
from app.cursors import decode_cursor, encode_cursor
from app.db import Query
from app.field_errors import field_error
from app.filters import offered
from app.guards import guard
from app.page_statements import SEPARATOR, Shape, page_statement
from app.parameters import list_parameters
from app.preconditions import IF_NONE_MATCH, Tags, read_if_none_match, revision
from app.problems import BadCursor, Unacceptable
from app.queries import ask, order_of
from app.records import Record, table_of


class Page:
    """One page of a list, asked for by one request.

    `counted` tells the number of all rows whether or not the request asks for it; `sort` is the
    order where it asks for none.
    """

    def __init__(
        self,
        model: type[Record],
        public: type[SQLModel],
        request: Request,
        sort: str,
        *,
        counted: bool,
    ) -> None:
        self.asked = ask(model, public, request.scope["query_string"], sort)
        self.path = request.scope["path"]
        self.if_none_match = read_if_none_match(request)
        self.bound_to = self._bound_to(model, public)
        cursor = self._cursor(model, public)
        after = None if cursor is None else tuple(value is not None for value in cursor)
        asked = self.asked
        shape = Shape(asked.conditions, asked.order, after, counted or asked.counted)
        values = {f"k{place}": value for place, value in enumerate(cursor or ())}
        values |= {**asked.values, "rows": asked.limit + 1}
        self.query: Query = page_statement(model, public, shape).of(values)

    def answer(self, row: Row | None) -> Response:
        """Answer with an array of the rows, and the address of the next page."""
        return self._answer(row, "[%s]")

    def answer_counted(self, row: Row | None) -> Response:
        """Answer with `count`, the number of all rows on all pages, and `items`, the rows."""
        assert row is not None, "an aggregate gives a row"
        return self._answer(row, f'{{"count":{row[2]},"items":[%s]}}')

    def _answer(self, row: Row | None, form: str) -> Response:
        assert row is not None, "an aggregate gives a row"
        content, rows = row[0] or "", row[1]
        headers = {}
        if rows > self.asked.limit:
            content = content.rpartition(SEPARATOR)[0]
            headers["link"] = f'<{self._next(content.rpartition(SEPARATOR)[2])}>; rel="next"'
        if self.asked.counted:
            headers["x-total-count"] = str(row[2])
        return _answer_page(form % content, headers, self.if_none_match)

    def _bound_to(self, model: type[Record], public: type[SQLModel]) -> str:
        """Return what a cursor belongs to: the list, its filters and its order."""
        filters = sorted(
            pair for pair in self.asked.pairs if pair[0] not in {"limit", "after", "count", "sort"}
        )
        return json.dumps([table_of(model).name, revision(public), self.asked.order, filters])

    def _next(self, last_row: str) -> str:
        """Return the address of the page behind a row, in the terms that the client used."""
        row = json.loads(last_row, parse_float=str)
        values = [_as_asked(row[key.field]) for key in self.asked.order]
        pairs = [pair for pair in self.asked.pairs if pair[0] != "after"]
        pairs.append(("after", encode_cursor(values, self.bound_to)))
        return f"{quote(self.path)}?{urlencode(pairs, safe=',')}"

    def _cursor(self, model: type[Record], public: type[SQLModel]) -> list[Any] | None:
        """Return the values of the last row seen; raise BadCursor if they are not of this list."""
        if self.asked.after is None:
            return None
        filters = offered(model, public)
        values = decode_cursor(self.asked.after, self.bound_to)
        try:
            return [
                None if value is None else filters[key.field].read(value)
                for key, value in zip(self.asked.order, values, strict=True)
            ]
        except ValueError:  # somebody made the cursor himself
            raise BadCursor from None


def page_of(
    model: type[Record], public: type[SQLModel], sort: str = "id", *, counted: bool = False
) -> Callable[[Request], Awaitable[Page]]:
    """Return the guard that reads which page of a list is asked for; it raises 400 and 422."""

    @guard(*list_parameters(model, public, sort), IF_NONE_MATCH, refuses=(400, 422))
    async def page(request: Request) -> Page:
        return Page(model, public, request, sort, counted=counted)

    return page


class Top:
    """The first rows of a list, which has no other page and takes no parameters."""

    def __init__(self, query: Query, if_none_match: Tags | None) -> None:
        self.query = query
        self.if_none_match = if_none_match

    def answer(self, row: Row | None) -> Response:
        """Answer with an array of the rows."""
        assert row is not None, "an aggregate gives a row"
        return _answer_page(f"[{row[0] or ''}]", {}, self.if_none_match)


def top_of(
    model: type[Record], shown: type[SQLModel], sort: str, rows: int
) -> Callable[[Request], Awaitable[Top]]:
    """Return the guard of the first `rows` in this order with the fields of `shown`."""
    statement = page_statement(model, shown, Shape((), order_of(sort), None, counted=False))

    @guard(IF_NONE_MATCH, refuses=(400, 422))
    async def top(request: Request) -> Top:
        if request.query_params:
            name = next(iter(request.query_params))
            detail = "This list takes no parameters"
            raise Unacceptable(errors=[field_error("query", name, detail, "unknown_parameter")])
        return Top(statement.of({"rows": rows}), read_if_none_match(request))

    return top


def _answer_page(content: str, headers: Mapping[str, str], if_none_match: Tags | None) -> Response:
    tag = f'"{sha256((content + str(headers)).encode()).hexdigest()[:32]}"'
    if if_none_match and if_none_match.match_weakly(tag):
        return Answer("", tag, 304, headers)
    return Answer(content, tag, headers=headers)


def _as_asked(value: Any) -> str | None:
    """Return a JSON value as a query string would spell it."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value)
