"""Whether the database serves requests, and has the schema that the code needs."""

import asyncio
import logging
from time import time

import asyncpg

from songbook.db.database import Database
from songbook.db.pool import PoolTimeout
from songbook.db.revisions import Revisions
from songbook.db.statements import BoundStatement, Use
from songbook.logs import Event

OK = "ok"
_PROBE_SECONDS = 1.0
_POOL_SECONDS = 0.8
"""The part of it for the wait for a connection, after which the pool is to blame."""

_FRESH_SECONDS = 0.1
"""Seconds for which a result is returned again."""

_CLOCK = "extract(epoch FROM clock_timestamp())::float AS clock"
# with a place of single rows: many slow lists are no reason to take a service out of use
_REVISIONS = BoundStatement(
    f"SELECT {_CLOCK}, array_agg(version_num::text) AS revisions FROM alembic_version",  # noqa: S608 - a constant
    [],
    use=Use.ROW,
)
_NO_REVISIONS = BoundStatement(f"SELECT {_CLOCK}, NULL AS revisions", [], use=Use.ROW)
_MIGRATE = "run the command migrate"

_logger = logging.getLogger(__name__)


class Readiness:
    """The readiness of a process: one statement at a time serves all requests for it."""

    def __init__(self, database: Database, revisions: Revisions) -> None:
        self._database = database
        self._revisions = revisions
        self._probe: asyncio.Task[dict[str, str]] | None = None
        self._fresh_until = 0.0
        self._last: dict[str, str] = {}
        self.last: dict[str, str] = {}
        """The checks when they were last made."""
        self.revisions_behind = 0
        """How many revisions the database lacked when last known."""
        self.clock_difference = 0.0
        """Seconds that the clock of this process was ahead of the database's when last known."""

    async def checks(self) -> dict[str, str]:
        """Return the checks by name, each `ok` or what is wrong, within a second."""
        loop = asyncio.get_running_loop()
        probe = self._probe
        if probe is None or (probe.done() and loop.time() >= self._fresh_until):
            probe = self._probe = loop.create_task(self._run())
        return await asyncio.shield(probe)  # a client may leave the others alone

    async def _run(self) -> dict[str, str]:
        checks = {"database": OK, "pool": OK, "schema": OK, **await self._failures()}
        self.last = checks
        self._fresh_until = asyncio.get_running_loop().time() + _FRESH_SECONDS
        failures = {name: each for name, each in checks.items() if each != OK}
        if failures != self._last:
            self._last = failures
            _logger.warning(Event("Not ready" if failures else "Ready again", **failures))
        return checks

    async def _failures(self) -> dict[str, str]:
        """Return the checks that fail."""
        statement = _REVISIONS if self._revisions.before else _NO_REVISIONS
        begun, now = time(), asyncio.get_running_loop().time()
        deadline = min(self._database.pool.deadline, now + _POOL_SECONDS)
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                row = await self._database.fetch(statement, deadline)
        except PoolTimeout:
            return {"pool": "all connections are in use"}
        except TimeoutError:
            return {"database": f"no response within {_PROBE_SECONDS:g} s"}
        except asyncpg.UndefinedTableError:
            self.revisions_behind = self._revisions.missing(())
            return {"schema": f"the tables do not exist: {_MIGRATE}"}
        except Exception:  # noqa: BLE001 - a connection may break in many ways, also in the driver
            return {"database": "not accepting connections or statements"}
        assert row is not None, "an aggregate gives a row"
        self.clock_difference = (begun + time()) / 2 - row["clock"]
        stored = row["revisions"] or ()
        self.revisions_behind = self._revisions.missing(stored)
        if self._revisions.are_in(stored):
            return {}
        return {"schema": f"older than the code: {_MIGRATE}"}
