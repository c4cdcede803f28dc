"""What a service does hourly: it removes old rows, while requests are served."""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NoReturn

from songbook.db.database import Database
from songbook.db.removal import PURGE, LockHeld, Removal
from songbook.logs import Event
from songbook.metrics import Counter

_FIRST_SECONDS = (30.0, 60.0)
"""The bounds of the time from the start to the first run, at random so that workers differ."""

_PERIOD_SECONDS = 3600.0

_DONE, _SKIPPED, _FAILED = "done", "skipped", "failed"

_EXPIRED = Counter("songbook_expired_keys_total", "Idempotency keys that the service expired.")
_PURGED = Counter("songbook_purged_rows_total", "Rows that the service purged.", ("resource",))
_RUNS = Counter(  # Prometheus has a label `job` of its own
    "songbook_housekeeping_runs_total", "Runs of the housekeeping.", ("task", "outcome")
)

_logger = logging.getLogger(__name__)


class Housekeeping:
    """The removals of a service, each by one process of all at a time."""

    def __init__(self, database: Database, removals: Sequence[Removal]) -> None:
        self._database = database
        self._removals = removals
        self.last_success = {each.job: 0.0 for each in removals}
        """When this process did each job last (Unix time), 0 before the first time."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run hourly until the exit; a batch that is interrupted then is rolled back."""
        task = asyncio.create_task(self._run_hourly())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _run_hourly(self) -> NoReturn:
        await asyncio.sleep(random.uniform(*_FIRST_SECONDS))  # noqa: S311 - no secret
        while True:
            await self.run()
            await asyncio.sleep(_PERIOD_SECONDS)

    async def run(self) -> None:
        """Do each job once; count its outcome."""
        for removal in self._removals:
            outcomes = {await self._remove(removal, each) for each in removal.moments}
            outcome = next((each for each in (_FAILED, _SKIPPED) if each in outcomes), _DONE)
            _RUNS.inc(removal.job, outcome)
            if outcome == _DONE:
                self.last_success[removal.job] = time.time()

    async def _remove(self, removal: Removal, resource: str) -> str:
        """Remove rows of one resource; return the outcome. A failure is logged."""
        total = 0
        try:
            async for rows in removal.batches(self._database, resource):
                total += rows
                if removal.job == PURGE:
                    _PURGED.inc(resource, by=rows)
                else:
                    _EXPIRED.inc(by=rows)
        except LockHeld:
            return _SKIPPED
        except Exception as error:  # noqa: BLE001 - the next time may succeed
            names = {"job": removal.job, "resource": resource}
            _logger.warning(Event("Removal failed", **names, error=error.__cause__ or error))
            return _FAILED
        if total:
            _logger.info(Event("Removal", job=removal.job, resource=resource, rows=total))
        return _DONE
