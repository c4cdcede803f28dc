"""Custom queries of a service, whose JSON PostgreSQL writes."""

from hashlib import sha256

from asyncpg import Record as Row
from sqlalchemy import SelectBase, func, literal_column, select
from starlette.responses import Response

from songbook.crud import EntityTags
from songbook.db import CompiledStatement, json_columns, row_to_json
from songbook.http import JSONText
from songbook.lists.statements import SQL_SEPARATOR


def json_rows(query: SelectBase, *, all_owners: bool = False) -> CompiledStatement:
    """Compile a query with named columns whose rows PostgreSQL writes as JSON.

    One of an owned table has the condition `is_own`, or reads the rows of `all_owners`.

    Pass the row of `db.fetch(statement.bind(values))` to `rows_response`. Decimals become strings.
    All rows are one text in memory, so the query needs a LIMIT.
    """
    rows = query.subquery("rows")
    shown = select(*json_columns(rows.c)).subquery("_shown")
    document = func.string_agg(row_to_json(shown), literal_column(SQL_SEPARATOR))
    statement = select(document.label("document")).select_from(shown)
    return CompiledStatement(statement, coalesce=True, all_owners=all_owners)


def rows_response(row: Row | None, if_none_match: EntityTags | None = None) -> Response:
    """Return the array of the rows of `json_rows`, or 304 if its tag matches."""
    assert row is not None, "an aggregate gives a row"
    return list_response(f"[{row['document'] or ''}]", {}, if_none_match)


def list_response(
    content: str, headers: dict[str, str], if_none_match: EntityTags | None
) -> Response:
    """Return a JSON text with its hash as the entity tag, or 304 if that matches."""
    tag = f'"{sha256((content + str(headers)).encode()).hexdigest()[:32]}"'
    if if_none_match and if_none_match.match_weakly(tag):
        return JSONText("", tag, 304, headers)
    return JSONText(content, tag, headers=headers)
