"""The pages of a list (keyset pagination), and its exports as CSV and NDJSON."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from starlette.responses import Response
from starlette.routing import BaseRoute

from songbook.bulk import Export
from songbook.config import Settings
from songbook.crud import IF_NONE_MATCH, EntityTags, Records, if_none_match
from songbook.db import Database
from songbook.http import (
    FILE_SUFFIXES,
    JSON,
    RelatedDependency,
    Route,
    StrictRequest,
    negotiate,
    read_query_string,
)
from songbook.lists.cursors import encode_cursor
from songbook.lists.openapi import list_parameters
from songbook.lists.page_bytes import SEPARATOR, cut
from songbook.lists.params import DEFAULT_LIMIT, MAX_PARAMETERS, ListParams, parse_params
from songbook.lists.queries import list_response
from songbook.lists.statements import export_query, page_query
from songbook.models import Listed

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

    async def response(self, db: Database) -> Response:
        """Return an array of the rows, with the URL of the next page in `Link`.

        It has at most `limit` rows and MAX_PAGE_BYTES.

        The body of a counted page is an object: `count`, the total of all pages, and `items`.
        """
        params = self.params
        if self.media_type != JSON:
            query, name = export_query(params, self.media_type), self.path.rpartition("/")[2]
            return Export(db, query, self.media_type, name, self.client)
        row = await db.fetch(page_query(params, with_total=self.counted or params.with_total))
        assert row is not None, "an aggregate gives a row"
        content = row["document"] or ""
        headers = {"vary": "Accept"}
        first = cut(content)
        if first is not None or row["number"] > (params.limit or DEFAULT_LIMIT):
            content = content.rpartition(SEPARATOR)[0] if first is None else first
            headers["link"] = f'<{self._next(content.rpartition(SEPARATOR)[2])}>; rel="next"'
        if params.with_total:
            headers["x-total-count"] = str(row["total"])
        body = f"[{content}]"
        if self.counted:
            body = f'{{"count":{row["total"]},"items":{body}}}'
        return list_response(body, headers, self.if_none_match)

    def _next(self, last_row: str) -> str:
        """Return the URL of the page after a row, with the parameters of the request."""
        row, params = _DECODER.decode(last_row), self.params
        values = [_query_value(row[key.field]) for key in params.order]
        pairs = [pair for pair in params.pairs if pair[0] != "after"]
        pairs.append(("after", encode_cursor(values, params.cursor_scope)))
        return f"{quote(self.path)}?{urlencode(pairs, safe=',')}"


def page_of(
    records: Records, sort: str = "id", *, counted: bool = False
) -> RelatedDependency[Page]:
    """Return the dependency that parses the query string of a list; `sort` is its default order."""
    parameters = list_parameters(records, sort, {})
    names = {parameter["name"] for parameter in parameters}

    async def page(request: StrictRequest) -> Page:
        declared = request.route.query_parameters
        others = () if len(declared) == len(names) else {each["name"] for each in declared} - names
        media_type = negotiate(",".join(request.headers.getlist("accept")), (JSON, *FILE_SUFFIXES))
        query = read_query_string(request.scope["query_string"], MAX_PARAMETERS)
        tags = await if_none_match.call(request)
        relations = request.service.relations.of(records.table, request.route.permission)
        params = parse_params(records, query, sort, others, relations)
        params.require_format(media_type)
        client = "" if media_type == JSON else request.sender
        return Page(params, media_type, request.scope["path"], tags, counted, client)

    return RelatedDependency(
        page,
        (*parameters, IF_NONE_MATCH),
        error_statuses=(400, 422),
        parses_query=True,
        shown=records,
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
            Listed(route.path, each.shown, readers)
            for each in route.request_dependencies.values()
            if isinstance(each, RelatedDependency) and each.parses_query
        ]
    return listed


def _query_value(value: Any) -> str | None:
    """Return a JSON value as a filter accepts it."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value)
