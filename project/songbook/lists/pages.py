"""A page of a list: the rows behind a cursor, in a total order, at a cost that no depth raises.

A list that is asked for as CSV or NDJSON has one page, with all rows: an export.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from typing import Any, Protocol
from urllib.parse import quote, urlencode

from asyncpg import Record as Row
from sqlmodel import SQLModel
from starlette.requests import Request
from starlette.responses import Response

from songbook.bulk import Export
from songbook.crud import IF_NONE_MATCH, Tags, read_if_none_match
from songbook.db import Database, Query
from songbook.errors import Unacceptable, field_error
from songbook.http import ENDINGS, JSON, Answer, guard, preferred
from songbook.lists.cursors import encode_cursor
from songbook.lists.openapi import list_parameters
from songbook.lists.params import order_of
from songbook.lists.selection import Selection
from songbook.lists.statements import SEPARATOR, Shape, page_statement
from songbook.models import Record

_DECODER = json.JSONDecoder(parse_float=str)


class Page(Protocol):
    """What one request asks of a list: a page, or an export."""

    async def answer(self, db: Database) -> Response:
        """Answer with the rows."""


class JsonPage(Page):
    """One page of a list.

    `counted` answers with the number of all rows, whether or not the request asks for it.
    """

    def __init__(self, selection: Selection, request: Request, *, counted: bool) -> None:
        self._selection = selection
        self._path = request.scope["path"]
        self._if_none_match = read_if_none_match(request)
        self._counted = counted
        self._query = selection.page(counted=counted)

    async def answer(self, db: Database) -> Response:
        """Answer with an array of the rows, and the address of the next page.

        A counted page is an object: `count`, the number of all rows on all pages, and `items`.
        """
        row = await db.fetch(self._query)
        assert row is not None, "an aggregate gives a row"
        content, rows = row[0] or "", row[1]
        headers = {"vary": "Accept"}
        if rows > self._selection.limit:
            content = content.rpartition(SEPARATOR)[0]
            headers["link"] = f'<{self._next(content.rpartition(SEPARATOR)[2])}>; rel="next"'
        if self._selection.asked.counted:
            headers["x-total-count"] = str(row[2])
        shown = f'{{"count":{row[2]},"items":[{content}]}}' if self._counted else f"[{content}]"
        return _answer_page(shown, headers, self._if_none_match)

    def _next(self, last_row: str) -> str:
        """Return the address of the page behind a row, in the terms that the client used."""
        row = _DECODER.decode(last_row)
        asked = self._selection.asked
        values = [_as_asked(row[key.field]) for key in asked.order]
        pairs = [pair for pair in asked.pairs if pair[0] != "after"]
        pairs.append(("after", encode_cursor(values, self._selection.bound_to)))
        return f"{quote(self._path)}?{urlencode(pairs, safe=',')}"


class ExportPage(Page):
    """All rows of a list, as one file."""

    def __init__(self, selection: Selection, media_type: str, name: str) -> None:
        self._query = selection.export(media_type)
        self._media_type = media_type
        self._name = name

    async def answer(self, db: Database) -> Response:
        """Answer with the rows while they are read."""
        return Export(db, self._query, self._media_type, self._name)


def page_of(
    model: type[Record], public: type[SQLModel], sort: str = "id", *, counted: bool = False
) -> Callable[[Request], Awaitable[Page]]:
    """Return the guard that reads which page of a list is asked for; it raises 400 and 422."""

    @guard(*list_parameters(model, public, sort), IF_NONE_MATCH, refuses=(400, 422))
    async def page(request: Request) -> Page:
        selection = Selection(model, public, request.scope["query_string"], sort)
        media_type = preferred(",".join(request.headers.getlist("accept")), (JSON, *ENDINGS))
        if media_type == JSON:
            return JsonPage(selection, request, counted=counted)
        return ExportPage(selection, media_type, request.scope["path"].rpartition("/")[2])

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
