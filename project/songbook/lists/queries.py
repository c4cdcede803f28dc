"""Queries of a service's own, beside those of its resources: PostgreSQL writes their JSON, too."""

from hashlib import sha256

from asyncpg import Record as Row
from sqlalchemy import Numeric, SelectBase, Text, cast, func, literal_column, select
from starlette.responses import Response

from songbook.crud import EntityTags
from songbook.db import CompiledStatement, row_to_json
from songbook.http import JSONText
from songbook.lists.statements import SQL_SEPARATOR


def json_rows(query: SelectBase) -> CompiledStatement:
    """Compile a query, with names for its columns, whose rows PostgreSQL writes as JSON.

    Run it with `db.fetch(statement.bind(values))`, the values by the names of its `bindparam`s; the
    row is for `rows_response`. Decimals become texts with all their places. It needs a LIMIT: all
    rows are one text.
    """
    rows = query.subquery("rows")
    columns = [
        cast(column, Text).label(column.name) if isinstance(column.type, Numeric) else column
        for column in rows.c
    ]
    shown = select(*columns).subquery("shown")
    document = func.string_agg(row_to_json(shown), literal_column(SQL_SEPARATOR))
    return CompiledStatement(select(document.label("document")).select_from(shown), coalesce=True)


def rows_response(row: Row | None, if_none_match: EntityTags | None = None) -> Response:
    """Answer with the array of the rows of `json_rows`, or 304 when the client has it already."""
    assert row is not None, "an aggregate gives a row"
    return list_response(f"[{row['document'] or ''}]", {}, if_none_match)


def list_response(
    content: str, headers: dict[str, str], if_none_match: EntityTags | None
) -> Response:
    """Answer with a JSON text, with a tag that is its hash."""
    tag = f'"{sha256((content + str(headers)).encode()).hexdigest()[:32]}"'
    if if_none_match and if_none_match.match_weakly(tag):
        return JSONText("", tag, 304, headers)
    return JSONText(content, tag, headers=headers)
