"""The commands that remove old rows, which the service does hourly."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated

import asyncpg
import typer
from sqlalchemy.engine import URL

from songbook.cli.service import Service, progress_bar
from songbook.config import CommandError, Settings
from songbook.crud import KEYS
from songbook.db import (
    LockHeld,
    Removal,
    check_database,
    expiry_of,
    open_database,
    purge_of,
    resolve_database,
)
from songbook.errors import ServiceUnavailable
from songbook.http import shown_tables
from songbook.models import display_name, plural_name

_PATIENCE_SECONDS = 10.0
"""How long a command waits for a batch of another process, which takes 5 seconds at most."""

Days = Annotated[
    int | None, typer.Option(min=0, max=36500, help="Minimum age in days [RETENTION_DAYS].")
]


class MaintenanceCommands(Service):
    """The commands `purge` and `expire-keys`."""

    def purge(self, older_than: Days = None) -> None:
        """Purge rows that were deleted long ago now; the service does it hourly."""
        settings, models = self.settings.load(), shown_tables(self.routes())
        age = timedelta(days=settings.retention_days if older_than is None else older_than)
        nouns = {plural_name(model): display_name(model).lower() for model in models}
        for name, rows in _remove(settings, purge_of(models, age)).items():
            noun, verb = (nouns[name], "was") if rows == 1 else (name, "were")
            print(f"{rows} {noun} deleted {age.days} or more days ago {verb} purged.")

    def expire_keys(self) -> None:
        """Remove idempotency keys older than KEY_HOURS now; the service does it hourly."""
        settings = self.settings.load()
        expiry = expiry_of(KEYS.c.created_at, timedelta(hours=settings.key_hours))
        [rows] = _remove(settings, expiry).values()
        keys, verb = ("key", "was") if rows == 1 else ("keys", "were")
        print(f"{rows} {keys} sent {settings.key_hours} or more hours ago {verb} removed.")


def _remove(settings: Settings, removal: Removal) -> dict[str, int]:
    """Remove rows from the database of the settings; show the progress."""
    with resolve_database(settings) as url, progress_bar() as progress:
        check_database(url)
        task = progress.add_task("Removing", total=None)

        def show(name: str, rows: int) -> None:
            progress.update(task, description=f"{rows} {name}")

        return asyncio.run(remove(url, removal, show))


async def remove(
    url: URL, removal: Removal, progress: Callable[[str, int], None]
) -> dict[str, int]:
    """Remove rows; return their number by resource. Raises CommandError.

    The number so far is reported to `progress` after each batch.
    """
    removed = dict.fromkeys(removal.moments, 0)
    try:
        async with open_database(url) as db:
            for name in removed:
                async for rows in removal.batches(db, name, _PATIENCE_SECONDS):
                    removed[name] += rows
                    progress(name, removed[name])
    except (asyncpg.PostgresError, ServiceUnavailable, OSError, LockHeld) as error:
        done = ", ".join(f"{rows} {name}" for name, rows in removed.items())
        raise CommandError(f"the removal stopped after {done}: {error}") from None
    return removed
