"""The commands that remove old rows."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Annotated, Any

import asyncpg
import typer
from sqlalchemy import Column
from sqlalchemy.engine import URL

from songbook.cli.service import Service, progress_bar
from songbook.config import CommandError, Settings
from songbook.crud import KEYS
from songbook.db import (
    check_database,
    deletions,
    open_database,
    removal_of,
    resolve_database,
)
from songbook.errors import ServiceUnavailable
from songbook.models import display_name, family, plural_name

Days = Annotated[
    int | None, typer.Option(min=0, max=36500, help="Minimum age in days [RETENTION_DAYS].")
]


class MaintenanceCommands(Service):
    """The commands `purge` and `expire-keys`."""

    def purge(self, older_than: Days = None) -> None:
        """Purge rows that were deleted long ago; until then they can be restored."""
        settings = self.settings.load()
        age = timedelta(days=settings.retention_days if older_than is None else older_than)
        models = [family(module).table for module in self.resources().values()]
        nouns = {plural_name(model): display_name(model).lower() for model in models}
        for name, rows in _remove(settings, deletions(models), age).items():
            noun, verb = (nouns[name], "was") if rows == 1 else (name, "were")
            print(f"{rows} {noun} deleted {age.days} or more days ago {verb} purged.")

    def expire_keys(self) -> None:
        """Remove idempotency keys older than KEY_HOURS now; the service does it hourly."""
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
                    row = await db.fetch(removal_of(moment).bind({"age": age}))
                    assert row is not None, "an aggregate gives a row"
                    due = row["due"]
                    removed[name] += row["gone"]
                    progress(name, removed[name])
    except (asyncpg.PostgresError, ServiceUnavailable) as error:
        done = ", ".join(f"{rows} {name}" for name, rows in removed.items())
        raise CommandError(f"the removal stopped after {done}: {error}") from None
    return removed
