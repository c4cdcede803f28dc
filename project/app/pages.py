"""A page of a list: the rows behind a cursor, in a total order, at a cost that no depth raises."""

import json
from collections.abc import Awaitable, Callable
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
from app.filters import offered
from app.page_statements import SEPARATOR, Shape, page_statement
from app.parameters import list_parameters
from app.preconditions import IF_NONE_MATCH, Tags, if_none_match, revision
from app.problems import BadCursor
from app.queries import ask
from app.records import Record, table_of
from app.routing import guard


class Page:
    """One page of a list, asked for by one request."""

    def __init__(
        self,
        model: type[Record],
        public: type[SQLModel],
        request: Request,
        if_none_match: Tags | None,
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
            return Answer("", tag, 304, headers)
        return Answer(content, tag, headers=headers)

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


def page_of(model: type[Record], public: type[SQLModel]) -> Callable[[Request], Awaitable[Page]]:
    """Return the guard that reads which page of a list is asked for; it raises 400 and 422."""

    @guard(*list_parameters(model, public), IF_NONE_MATCH, refuses=(400, 422))
    async def page(request: Request) -> Page:
        return Page(model, public, request, await if_none_match(request))

    return page


def _as_asked(value: Any) -> str | None:
    """Return a JSON value as a query string would spell it."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value)
