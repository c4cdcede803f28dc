"""The pages of a list (keyset pagination), and its exports as CSV and NDJSON."""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote, urlencode

from asyncpg import Record as Row
from sqlalchemy import Select, SQLColumnExpression
from starlette.responses import Response
from starlette.routing import BaseRoute

from songbook.auth import current_user
from songbook.bulk import Export
from songbook.config import Settings
from songbook.crud import IF_NONE_MATCH, EntityTags, Records, if_none_match
from songbook.db import Database
from songbook.errors import Forbidden, NotFound
from songbook.http import (
    ALIASES,
    FILE_SUFFIXES,
    JSON,
    Parameter,
    RelatedDependency,
    Route,
    StrictRequest,
    negotiate,
    read_query_string,
)
from songbook.lists.cursors import encode_cursor
from songbook.lists.estimates import estimate_total
from songbook.lists.openapi import list_parameters
from songbook.lists.own_conditions import OwnCondition, own_condition
from songbook.lists.page_bytes import SEPARATOR, cut
from songbook.lists.params import DEFAULT_LIMIT, MAX_PARAMETERS, ListParams, parse_params
from songbook.lists.queries import list_response
from songbook.lists.statements import export_query, hidden_keys, is_bounded, page_query
from songbook.models import Listed

_OFFERED = (JSON, *FILE_SUFFIXES, *ALIASES)
_DECODER = json.JSONDecoder(parse_float=str)


@dataclass
class Page:
    """A page as JSON, or an export as another media type.

    If `counted`, the body has the total of all pages, also without `count=exact`.
    """

    params: ListParams
    media_type: str
    path: str
    if_none_match: EntityTags | None
    counted: bool
    client: str
    """The sender of the request, for its share of exports."""
    is_file: bool = False
    """Whether it is at an address of files, not selected by the Accept header."""

    async def response(self, db: Database, **values: Any) -> Response:
        """Return an array of the rows, with the next page in `Link` and `X-Next-Cursor`.

        It has at most `limit` rows and MAX_PAGE_BYTES. `values` are those of the `bindparam`s in
        the condition of the list. Raises NotFound without its parent, and BadCursor.

        The body of a counted page is an object: `count`, the total of all pages, and `items`.
        """
        self.params.set_own_values(values)
        response = await (self._page(db) if self.media_type == JSON else self._export(db))
        if self.params.deleted:
            response.headers["Cache-Control"] = "private, no-cache"
        return response

    async def _page(self, db: Database) -> Response:
        params, with_total = self.params, self.counted or self.params.with_total
        estimate = None
        if params.estimated and not with_total:
            estimate = await estimate_total(db, params)
            with_total = estimate is None
        row = await db.fetch(page_query(params, with_total=with_total))
        self._require_parent(row)
        assert row is not None, "an aggregate gives a row"
        content = row["document"] or ""
        headers = {"vary": "Accept"}
        first = cut(content)
        if first is not None or row["number"] > (params.limit or DEFAULT_LIMIT):
            content = content.rpartition(SEPARATOR)[0] if first is None else first
            cursor = self._cursor(content, row)
            headers["link"] = f'<{self._url_after(cursor)}>; rel="next"'
            headers["x-next-cursor"] = cursor  # clients that know no Link, or no relative URL
        headers |= self._count_headers(estimate, row, is_whole="link" not in headers)
        body = f"[{content}]"
        if self.counted:
            body = f'{{"count":{row["total"]},"items":{body}}}'
        return list_response(body, headers, self.if_none_match)

    def _count_headers(self, estimate: int | None, row: Row, *, is_whole: bool) -> dict[str, str]:
        """Return the headers of the total; that of an estimate is at least what the page shows."""
        if estimate is None:
            counts = self.params.with_total or self.params.estimated
            return {"x-total-count": str(row["total"])} if counts else {}
        if is_whole and self.params.after is None:
            return {"x-total-count": str(row["number"])}
        total = max(estimate, row["number"])
        return {"x-total-count": str(total), "x-total-count-estimated": "true"}

    async def _export(self, db: Database) -> Response:
        own, name = self.params.own, self.path.rpartition("/")[2]
        name = name.removesuffix(f".{FILE_SUFFIXES[self.media_type]}") if self.is_file else name
        if own and own.has_parent is not None:
            self._require_parent(await db.fetch(own.parent_statement.bind(self.params.values)))
        query = export_query(self.params, self.media_type)
        mark = self.params.byte_order_mark
        export = Export(db, query, self.media_type, name, self.client, mark=mark)
        if not self.is_file:
            export.headers["Vary"] = "Accept"
        return export

    def _require_parent(self, row: Row | None) -> None:
        own = self.params.own
        if own and own.has_parent is not None and not (row and row["has_parent"]):
            raise NotFound(f"{own.parent_name} not found")

    def _cursor(self, content: str, row: Row) -> str:
        """Return the cursor of the last row: the value of `after` for the page after it."""
        params = self.params
        last = _DECODER.decode(content.rpartition(SEPARATOR)[2])
        if hidden := hidden_keys(params.records, params.order, params.fields):
            keys = _DECODER.decode(row["keys"])
            if is_bounded(params):
                nth = content.count(SEPARATOR)
                keys = [values[nth] for values in keys]
            last.update(zip(hidden, keys, strict=True))
        values = [_query_value(last[key.field]) for key in params.order]
        return encode_cursor(values, params.cursor_scope)

    def _url_after(self, cursor: str) -> str:
        """Return the URL of the page after a cursor, with the parameters of the request."""
        pairs = [pair for pair in self.params.pairs if pair[0] != "after"]
        pairs.append(("after", cursor))
        return f"{quote(self.path)}?{urlencode(pairs, safe=',')}"


@dataclass(frozen=True)
class _List:
    """A list, whose query string it parses."""

    records: Records
    sort: str
    counted: bool
    own: OwnCondition | None

    @cached_property
    def parameters(self) -> list[dict[str, Any]]:
        """The parameters, without those that depend on the relations."""
        return list_parameters(self.records, self.sort, {})

    async def page(self, request: StrictRequest) -> Page:
        """Return the page that a request asks for."""
        records, route = self.records, request.route
        is_file = route.file_type is not None
        media_type = route.file_type or _negotiated(request)
        query = read_query_string(request.scope["query_string"], MAX_PARAMETERS)
        tags = await if_none_match.call(request)
        relations = request.service.relations.of(records.table, route.includes)
        others = self._others(route.query_parameters)
        params = parse_params(records, query, self.sort, others, relations, self.own)
        params.require_format(media_type)
        if params.deleted:
            await _require_superuser(request)
        client = "" if media_type == JSON else request.sender
        path = request.scope["path"]
        return Page(params, media_type, path, tags, self.counted, client, is_file)

    def _others(self, declared: Sequence[Parameter]) -> Collection[str]:
        """Return the names of the route's parameters that are not the list's."""
        if len(declared) == len(self.parameters):
            return ()
        return {each["name"] for each in declared} - {each["name"] for each in self.parameters}


def _negotiated(request: StrictRequest) -> str:
    """Return the media type that the Accept header selects."""
    found = negotiate(request.headers, _OFFERED)
    return ALIASES.get(found, found)


async def _require_superuser(request: StrictRequest) -> None:
    """Raise Unauthenticated or Forbidden unless a superuser sends the request."""
    user = await current_user.call(request) if request.service.accounts else None
    if user is None or not user.is_superuser:
        raise Forbidden("Only superusers may list deleted records.")
    request.sign_in(user)


def page_of(
    records: Records,
    sort: str = "id",
    *,
    counted: bool = False,
    where: SQLColumnExpression[bool] | None = None,
    parent: Select[Any] | None = None,
) -> RelatedDependency[Page]:
    """Return the dependency that parses the query string of a list; `sort` is its default order.

    With `where`, an SQL expression, it is a list of the records for which that holds; `parent`
    selects a record of another table, without which the response is 404. `Page.response` takes the
    values of their `bindparam`s.
    """
    own = own_condition(records.table, where, parent)
    found = _List(records, sort, counted, own)
    return RelatedDependency(
        found.page,
        (*found.parameters, IF_NONE_MATCH),
        error_statuses=(400, 422) if parent is None else (400, 404, 422),
        parses_query=True,
        shown=records,
        is_partial=own is not None,
        file_types=(*FILE_SUFFIXES,),
        describe=lambda relations: (*list_parameters(records, sort, relations), IF_NONE_MATCH),
    )


def lists_in(routes: Iterable[BaseRoute], settings: Settings) -> list[Listed]:
    """Return the resources that have a list among the routes."""
    listed = []
    for route in routes:
        if not isinstance(route, Route) or "GET" not in (route.methods or ()):
            continue
        is_closed = route.permission.requires_user("GET", settings)
        readers = route.permission if is_closed else None
        listed += [
            Listed(route.path, each.shown, readers, each.is_partial)
            for each in route.related_dependencies
            if each.parses_query
        ]
    return listed


def _query_value(value: Any) -> str | None:
    """Return a JSON value as a filter accepts it."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value)
