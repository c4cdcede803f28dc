"""The commands that remove what is past."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, partial
from typing import Annotated, Any, TypeVar

import asyncpg
import typer
from sqlalchemy import Column, Interval, Table, bindparam, delete, func, literal_column, select
from sqlalchemy.engine import URL

from songbook.cli.progress import progress_bar
from songbook.cli.service import Service
from songbook.config import Settings, StartError
from songbook.crud import KEYS
from songbook.db import Statement, check_database, located, opened_database
from songbook.errors import Unavailable
from songbook.models import Record, living, table_of

_REMOVED_AT_ONCE = 1000

Number = TypeVar("Number")

Days = Annotated[
    int | None, typer.Option(min=0, max=36500, help="How many days ago [RETENTION_DAYS].")
]


@dataclass(frozen=True)
class MaintenanceCommands:
    """The commands that an operator runs now and then."""

    service: Service

    def purge(self, older_than: Days = None) -> None:
        """Remove the rows that were deleted long ago; until then they can be restored."""
        settings = self.service.settings.load()
        age = timedelta(days=settings.retention_days if older_than is None else older_than)
        models = {name: each.table for name, each in self.service.families().items()}
        purged = _removed(settings, "Purging", partial(purge, models=models, age=age))
        for name, rows in purged.items():
            print(f"{name} purged that were deleted {age.days} days ago or longer: {rows}.")

    def expire_keys(self) -> None:
        """Remove the idempotency keys that are older than KEY_HOURS; run it every hour or so."""
        settings = self.service.settings.load()
        age = timedelta(hours=settings.key_hours)
        expired = _removed(settings, "Expiring", partial(expire_keys, age=age))
        print(f"keys expired that were sent {settings.key_hours} hours ago or longer: {expired}.")


def _removed(settings: Settings, doing: str, remove: Callable[..., Number]) -> Number:
    """Remove rows from the database of the settings; show how many are gone so far."""
    with located(settings) as url:
        check_database(url)
        with progress_bar() as progress:
            task = progress.add_task(doing, total=None)

            def tell(name: str, rows: int) -> None:
                progress.update(task, description=f"{rows} {name}")

            return remove(url, progress=tell)


def purge(
    url: URL,
    models: Mapping[str, type[Record]],
    age: timedelta,
    progress: Callable[[str, int], None],
) -> dict[str, int]:
    """Remove the rows that were deleted longer ago than `age`; return how many of each model.

    Models without soft delete are left out. It goes a thousand rows at a time, each time committed;
    `progress` is told of each. What is restored meanwhile stays.
    """
    moments = {
        name: table_of(model).c.deleted_at for name, model in models.items() if living(model)
    }
    return asyncio.run(_remove(url, moments, age, progress))


def expire_keys(url: URL, age: timedelta, progress: Callable[[str, int], None]) -> int:
    """Remove the idempotency keys that are older than `age`; return how many, as `purge` does."""
    moments = {"keys": KEYS.c.created_at}
    return asyncio.run(_remove(url, moments, age, progress))["keys"]


async def _remove(
    url: URL,
    moments: Mapping[str, Column[Any]],
    age: timedelta,
    progress: Callable[[str, int], None],
) -> dict[str, int]:
    removed = dict.fromkeys(moments, 0)
    try:
        async with opened_database(url) as db:
            for name, moment in moments.items():
                due = 1
                while due:
                    row = await db.fetch(_removing(moment).of({"age": age}))
                    assert row is not None, "an aggregate gives a row"
                    due = row["due"]
                    removed[name] += row["gone"]
                    progress(name, removed[name])
    except (asyncpg.PostgresError, Unavailable) as error:
        raise StartError(f"the removal stopped after {removed}: {error}") from None
    return removed


@cache
def _removing(moment: Column[Any]) -> Statement:
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
    return Statement(select(*numbers))
