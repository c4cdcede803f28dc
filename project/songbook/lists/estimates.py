"""The estimated number of the rows of a list, for `count=estimated`."""

from songbook.db import Database
from songbook.lists.params import ListParams
from songbook.lists.statements import rows_query
from songbook.models import not_deleted

MAX_COST = 2000
"""What counting may cost, in PostgreSQL's units: a table of 100,000 short rows costs as much."""


async def estimate_total(db: Database, params: ListParams) -> int | None:
    """Return the planner's estimate of the number of rows, None where they are to be counted.

    They are where that costs little, and where the client may not read all rows: an estimate is
    made of the values in all of them.
    """
    statement = rows_query(params)
    if statement.bind_principal or params.own or _hides_deleted(params):
        return None
    row = await db.fetch(statement._replace(sql=f"EXPLAIN (FORMAT JSON) {statement.sql}"))
    assert row is not None, "EXPLAIN returns a row"
    [explained] = row[0]
    plan = explained["Plan"]
    return plan["Plan Rows"] if plan["Total Cost"] > MAX_COST else None


def _hides_deleted(params: ListParams) -> bool:
    """Return whether filters could tell what values deleted records have."""
    parents = [each.parent.shown.table for each in params.conditions if each.parent]
    tables = [params.records.table, *parents]
    return bool(params.conditions) and any(not_deleted(each) for each in tables)
