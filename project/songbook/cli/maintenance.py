"""The commands that remove what is past."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cache
from typing import Annotated, Any

import asyncpg
import typer
from sqlalchemy import Column, Interval, Table, bindparam, delete, func, literal_column, select
from sqlalchemy.engine import URL

from songbook.cli.service import Service, progress_bar
from songbook.config import CommandError, Settings
from songbook.crud import KEYS
from songbook.db import CompiledStatement, check_database, open_database, resolve_database
from songbook.errors import ServiceUnavailable
from songbook.models import family, not_deleted, table_of

_REMOVED_AT_ONCE = 1000

Days = Annotated[
    int | None, typer.Option(min=0, max=36500, help="How many days ago [RETENTION_DAYS].")
]


class MaintenanceCommands(Service):
    """The commands that an operator runs now and then."""

    def purge(self, older_than: Days = None) -> None:
        """Remove the rows that were deleted long ago; until then they can be restored."""
        settings = self.settings.load()
        age = timedelta(days=settings.retention_days if older_than is None else older_than)
        models = {name: family(module).table for name, module in self.resources().items()}
        moments = {
            name: table_of(each).c.deleted_at for name, each in models.items() if not_deleted(each)
        }
        for name, rows in _remove(settings, moments, age).items():
            print(f"{name} purged that were deleted {age.days} days ago or longer: {rows}.")

    def expire_keys(self) -> None:
        """Remove the idempotency keys that are older than KEY_HOURS; run it every hour or so."""
        settings = self.settings.load()
        moments, age = {"keys": KEYS.c.created_at}, timedelta(hours=settings.key_hours)
        expired = _remove(settings, moments, age)["keys"]
        print(f"keys expired that were sent {settings.key_hours} hours ago or longer: {expired}.")


def _remove(
    settings: Settings, moments: Mapping[str, Column[Any]], age: timedelta
) -> dict[str, int]:
    """Remove rows from the database of the settings; show how many are gone so far."""
    with resolve_database(settings) as url, progress_bar() as progress:
        check_database(url)
        task = progress.add_task("Removing", total=None)

        def tell(name: str, rows: int) -> None:
            progress.update(task, description=f"{rows} {name}")

        return asyncio.run(remove(url, moments, age, tell))


async def remove(
    url: URL,
    moments: Mapping[str, Column[Any]],
    age: timedelta,
    progress: Callable[[str, int], None],
) -> dict[str, int]:
    """Remove the rows whose moment is longer ago than `age`; return how many of each name.

    It goes a thousand rows at a time, each time committed; `progress` is told of each. What is
    restored meanwhile stays.
    """
    removed = dict.fromkeys(moments, 0)
    try:
        async with open_database(url) as db:
            for name, moment in moments.items():
                due = 1
                while due:
                    row = await db.fetch(_removing(moment).bind({"age": age}))
                    assert row is not None, "an aggregate gives a row"
                    due = row["due"]
                    removed[name] += row["gone"]
                    progress(name, removed[name])
    except (asyncpg.PostgresError, ServiceUnavailable) as error:
        raise CommandError(f"the removal stopped after {removed}: {error}") from None
    return removed


@cache
def _removing(moment: Column[Any]) -> CompiledStatement:
    """Remove the next rows whose moment is past: how many were due, and how many still were then.

    Of those a client may change one meanwhile, as by restoring it.
    """
    table = moment.table
    assert isinstance(table, Table)
    late = moment <= func.now() - bindparam("age", type_=Interval)
    keys = [*table.primary_key]
    due = (
        select(*keys)
        .where(late)
        .order_by(moment, *keys)
        .limit(literal_column(str(_REMOVED_AT_ONCE)))
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
