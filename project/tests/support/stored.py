"""The rows of a resource as they are stored, and as a client is shown them."""

import json
from collections.abc import Sequence
from typing import Any

from httpx import Response
from sqlalchemy import Table, delete, insert, select
from sqlmodel.ext.asyncio.session import AsyncSession

from songbook.models.owners import owner_columns
from songbook.models.tables import table_of
from tests.support.clients import PRINCIPAL
from tests.support.resources import PARENTS, Resource, parent_row


def array_of(page: Response) -> str:
    """Return the text of the array of a page."""
    return page.text[page.text.index("[") : page.text.rindex("]") + 1]


async def stored_rows(session: AsyncSession, table: Table) -> list[dict[str, Any]]:
    """Return the rows of a table, all columns of them, but not the row of who asks."""
    connection = await session.connection()
    rows = await connection.execute(
        select(table).where(table.c.id < PRINCIPAL).order_by(table.c.id)
    )
    return [dict(row) for row in rows.mappings()]


async def replace_rows(
    session: AsyncSession, resource: Resource, rows: Sequence[dict[str, Any]] = ()
) -> None:
    """Make these the rows of a resource's table, beside the one of who asks."""
    table = table_of(resource.table)
    owner = {column.name: PRINCIPAL for column in owner_columns(table)}
    connection = await session.connection()
    await connection.execute(delete(table).where(table.c.id < PRINCIPAL))
    for number, row in enumerate(rows):
        needed = parent_row(resource, number, PARENTS[0])
        await connection.execute(insert(table).values(needed | row | owner))
    await session.commit()


def pairs(text: str) -> list[list[tuple[str, Any]]]:
    """Return the members of an object, or of those in an array, in the order of the JSON text."""
    found = json.loads(text, object_pairs_hook=_once)
    return [[*each.items()] for each in (found if isinstance(found, list) else [found])]


def _once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(members)) == len(members)
    return dict(members)
