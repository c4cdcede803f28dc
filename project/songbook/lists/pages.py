"""A page of a list: the rows behind a cursor, in a total order, at a cost that no depth raises.

A list that is asked for as CSV or NDJSON has one page, with all rows: an export.
"""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from starlette.responses import Response

from songbook.bulk import Export
from songbook.crud import IF_NONE_MATCH, EntityTags, Records, if_none_match
from songbook.db import Database
from songbook.http import (
    FILE_SUFFIXES,
    JSON,
    Dependency,
    StrictRequest,
    dependency,
    negotiate,
    read_query_string,
)
from songbook.lists.cursors import encode_cursor
from songbook.lists.openapi import list_parameters
from songbook.lists.params import DEFAULT_LIMIT, MAX_PARAMETERS, ListParams, parse_params
from songbook.lists.queries import list_response
from songbook.lists.statements import SEPARATOR, export_query, page_query

_DECODER = json.JSONDecoder(parse_float=str)


@dataclass
class Page:
    """What one request asks of a list: a page as JSON, or an export as another media type.

    `counted` answers with the number of all rows, whether or not the request asks for it.
    """

    params: ListParams
    media_type: str
    path: str
    if_none_match: EntityTags | None
    counted: bool

    async def response(self, db: Database) -> Response:
        """Answer with an array of the rows, and the address of the next page.

        A counted page is an object: `count`, the number of all rows on all pages, and `items`.
        """
        params = self.params
        if self.media_type != JSON:
            query, name = export_query(params, self.media_type), self.path.rpartition("/")[2]
            return Export(db, query, self.media_type, name)
        row = await db.fetch(page_query(params, with_total=self.counted or params.with_total))
        assert row is not None, "an aggregate gives a row"
        content = row["document"] or ""
        headers = {"vary": "Accept"}
        if row["number"] > (params.limit or DEFAULT_LIMIT):
            content = content.rpartition(SEPARATOR)[0]
            headers["link"] = f'<{self._next(content.rpartition(SEPARATOR)[2])}>; rel="next"'
        if params.with_total:
            headers["x-total-count"] = str(row["total"])
        shown = (
            f'{{"count":{row["total"]},"items":[{content}]}}' if self.counted else f"[{content}]"
        )
        return list_response(shown, headers, self.if_none_match)

    def _next(self, last_row: str) -> str:
        """Return the address of the page behind a row, in the terms that the client used."""
        row, params = _DECODER.decode(last_row), self.params
        values = [_query_value(row[key.field]) for key in params.order]
        pairs = [pair for pair in params.pairs if pair[0] != "after"]
        pairs.append(("after", encode_cursor(values, params.cursor_scope)))
        return f"{quote(self.path)}?{urlencode(pairs, safe=',')}"


def page_of(records: Records, sort: str = "id", *, counted: bool = False) -> Dependency[Page]:
    """Return the dependency that reads which page of a list is asked for; it raises 400 and 422.

    `sort` is the order where the client names none.
    """
    parameters = list_parameters(records.table, records.public, sort)
    own = {parameter["name"] for parameter in parameters}

    @dependency(*parameters, IF_NONE_MATCH, error_statuses=(400, 422), parses_query=True)
    async def page(request: StrictRequest) -> Page:
        declared = request.route.query_parameters
        others = {each["name"] for each in declared} - own if len(declared) > len(own) else ()
        media_type = negotiate(",".join(request.headers.getlist("accept")), (JSON, *FILE_SUFFIXES))
        query = read_query_string(request.scope["query_string"], MAX_PARAMETERS)
        seen = await if_none_match.call(request)
        params = parse_params(records, query, sort, others)
        params.require_format(media_type)
        return Page(params, media_type, request.scope["path"], seen, counted)

    return page


def _query_value(value: Any) -> str | None:
    """Return a JSON value as a query string would spell it."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value)
