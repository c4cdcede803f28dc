"""The commands that remove old rows."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cache
from typing import Annotated, Any

import asyncpg
import typer
from sqlalchemy import (
    Column,
    ColumnElement,
    Interval,
    Table,
    bindparam,
    delete,
    exists,
    func,
    literal_column,
    select,
)
from sqlalchemy.engine import URL

from songbook.cli.service import Service, progress_bar
from songbook.config import CommandError, Settings
from songbook.crud import KEYS
from songbook.db import CompiledStatement, check_database, open_database, resolve_database
from songbook.errors import ServiceUnavailable
from songbook.models import family, not_deleted, table_of

_BATCH = 1000

Days = Annotated[
    int | None, typer.Option(min=0, max=36500, help="Minimum age in days [RETENTION_DAYS].")
]


class MaintenanceCommands(Service):
    """The commands `purge` and `expire-keys`."""

    def purge(self, older_than: Days = None) -> None:
        """Purge rows that were deleted long ago; until then they can be restored."""
        settings = self.settings.load()
        age = timedelta(days=settings.retention_days if older_than is None else older_than)
        models = {name: family(module).table for name, module in self.resources().items()}
        moments = {
            name: table_of(each).c.deleted_at for name, each in models.items() if not_deleted(each)
        }
        for name, rows in _remove(settings, moments, age).items():
            verb = "was" if rows == 1 else "were"
            print(f"{self.amount(rows, name)} deleted {age.days} or more days ago {verb} purged.")

    def expire_keys(self) -> None:
        """Remove idempotency keys older than KEY_HOURS; run it about every hour."""
        settings = self.settings.load()
        moments, age = {"keys": KEYS.c.created_at}, timedelta(hours=settings.key_hours)
        rows = _remove(settings, moments, age)["keys"]
        keys, verb = ("key", "was") if rows == 1 else ("keys", "were")
        print(f"{rows} {keys} sent {settings.key_hours} or more hours ago {verb} removed.")


def _remove(
    settings: Settings, moments: Mapping[str, Column[Any]], age: timedelta
) -> dict[str, int]:
    """Remove rows from the database of the settings; show the progress."""
    with resolve_database(settings) as url, progress_bar() as progress:
        check_database(url)
        task = progress.add_task("Removing", total=None)

        def show(name: str, rows: int) -> None:
            progress.update(task, description=f"{rows} {name}")

        return asyncio.run(remove(url, moments, age, show))


async def remove(
    url: URL,
    moments: Mapping[str, Column[Any]],
    age: timedelta,
    progress: Callable[[str, int], None],
) -> dict[str, int]:
    """Remove the rows whose moment is longer ago than `age`; return their number by name.

    Batches of 1000 rows are committed one by one and reported to `progress`. Rows that are restored
    meanwhile stay. Raises CommandError.
    """
    removed = dict.fromkeys(moments, 0)
    try:
        async with open_database(url) as db:
            for name, moment in moments.items():
                due = 1
                while due:
                    row = await db.fetch(_removal(moment).bind({"age": age}))
                    assert row is not None, "an aggregate gives a row"
                    due = row["due"]
                    removed[name] += row["gone"]
                    progress(name, removed[name])
    except (asyncpg.PostgresError, ServiceUnavailable) as error:
        done = ", ".join(f"{rows} {name}" for name, rows in removed.items())
        raise CommandError(f"the removal stopped after {done}: {error}") from None
    return removed


def _unreferred(table: Table) -> list[ColumnElement[bool]]:
    """Return the conditions that no row refers to one, which PostgreSQL would not delete."""
    keys = [key for other in table.metadata.tables.values() for key in other.foreign_keys]
    return [
        ~exists().where(key.parent.table.alias().c[key.parent.name] == key.column)
        for key in keys
        if key.column.table is table and key.ondelete not in {"CASCADE", "SET NULL"}
    ]


@cache
def _removal(moment: Column[Any]) -> CompiledStatement:
    """Compile the removal of the next batch: the numbers of rows that were due and are gone.

    They differ if a client restores a row meanwhile.
    """
    table = moment.table
    assert isinstance(table, Table)
    late = moment <= func.now() - bindparam("age", type_=Interval)
    keys = [*table.primary_key]
    due = (
        select(*keys)
        .where(late, *_unreferred(table))
        .order_by(moment, *keys)
        .limit(literal_column(str(_BATCH)))
        .with_for_update()
        .cte("due")
    )
    same = [key == due.c[key.name] for key in keys]
    gone = delete(table).where(*same, late).returning(keys[0]).cte("gone")
    numbers = [
        select(func.count()).select_from(each).scalar_subquery().label(each.name)
        for each in (due, gone)
    ]
    return CompiledStatement(select(*numbers))
