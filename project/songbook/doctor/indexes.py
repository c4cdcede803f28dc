"""Advice on indexes: for the orders and the filters that the lists offer."""

from collections.abc import Collection, Iterator
from typing import NamedTuple

from sqlalchemy import Connection, text

from songbook.doctor.findings import Finding, Subject, or_ok, some, warning
from songbook.lists import filters_of, sortable_fields
from songbook.models import EQUAL, Representation, not_deleted, owner_columns, table_of

MIN_ROWS = 100_000
"""Rows from which reading all takes longer than ten milliseconds."""

_ROWS = text("SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass(:table)")

# Of a B-tree PostgreSQL uses any range of its first column. Its order fits if nulls are last in
# ascending order, also when it is read backwards: indoption is 0 or 3.
# Of a table with owners it is the second: each user has a range of the first.
_FIRST_COLUMNS = text(
    "SELECT attname AS field, indoption[:nth] IN (0, 3) AS is_ordered"
    " FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_am ON pg_am.oid = relam"
    " JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[:nth]"
    " WHERE indrelid = to_regclass(:table) AND indisvalid AND amname = 'btree'"
    " AND (:nth = 0 OR pg_get_indexdef(indexrelid, 1, true) = 'owner_id')"
    " AND (indpred IS NULL OR :is_soft AND pg_get_expr(indpred, indrelid) = '(deleted_at IS NULL)')"
)


class _Lacking(NamedTuple):
    """The fields of a list whose order, and those whose filter, no index serves."""

    orders: list[str]
    filters: list[str]


def check_indexes(
    connection: Connection, subject: Subject, min_rows: int = MIN_ROWS
) -> list[Finding]:
    """Check that the lists of large tables have an index for each order of a field and filter.

    `min_rows` is the number of rows from which a table is large.
    """
    whole = [each for each in subject.lists if not each.is_partial]
    shown = {each.shown.table: (each.path, each.shown) for each in whole}
    problems = (
        finding
        for path, each in shown.values()
        for finding in _advice(connection, path, each, min_rows)
    )
    return or_ok(problems, f"Lists of {min_rows:,} rows or more have the indexes that they need.")


def _advice(
    connection: Connection, path: str, shown: Representation, min_rows: int
) -> Iterator[Finding]:
    table = table_of(shown.table)
    quoted = connection.dialect.identifier_preparer.format_table(table)
    rows = connection.scalar(_ROWS, {"table": quoted}) or 0
    if rows < min_rows:
        return
    is_soft, owners = bool(not_deleted(shown.table)), [each.name for each in owner_columns(table)]
    values = {"table": quoted, "is_soft": is_soft, "nth": len(owners)}
    indexes = connection.execute(_FIRST_COLUMNS, values).all()
    ordered = {each.field for each in indexes if each.is_ordered}
    lacking = _lacking(shown, ordered, {each.field for each in indexes})
    fields = [*dict.fromkeys((*lacking.orders, *lacking.filters))]
    if not fields:
        return
    where = " WHERE deleted_at IS NULL" if is_soft else ""
    columns = ", ".join([*owners, fields[0], "id"])
    yield warning(
        f"{path} has {rows:,} rows and reads them all to {_uses(lacking)}: for those that clients"
        f" use, write Field(index=True), and into the revision CREATE INDEX CONCURRENTLY"
        f" ix_{table.name}_{fields[0]} ON {quoted} ({columns}){where}."
    )


def _lacking(shown: Representation, ordered: Collection[str], first: Collection[str]) -> _Lacking:
    filters = [each.field for each in filters_of(shown).values() if each.comparison == EQUAL]
    return _Lacking(
        [name for name in sortable_fields(shown) if name not in ordered],
        [name for name in filters if name not in first],
    )


def _uses(lacking: _Lacking) -> str:
    uses = {"sort": lacking.orders, "filter": lacking.filters}
    return " or ".join(f"{verb} by {some(names)}" for verb, names in uses.items() if names)
