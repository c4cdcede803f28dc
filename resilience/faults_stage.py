"""What a round plays on: the database, the service, its clients, and what was noted."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import asyncpg
from balancer import Balancer
from cluster import Cluster, wait_until
from faults_bounds import Bounds
from faults_load import COUNTER, Load
from faults_service import Service, status_of
from history import History

POOL_SIZE = 20  # the default of the setting

OUR_BACKENDS = "FROM pg_stat_activity WHERE application_name = 'songbook'"
COUNTERS = 8
GIVEN_UP = 60  # seconds


@dataclass(frozen=True)
class Sabotage:
    """What must turn a round red, and the ways of doing it."""

    title: str
    cluster: dict[str, str] = field(default_factory=dict)
    """Settings of PostgreSQL."""
    sql: str = ""
    service: str = ""
    """A name in faults_sabotage.py."""
    settings: dict[str, str] = field(default_factory=dict)
    """Settings of the service."""
    keeps_keys: bool = True
    """Whether clients retry with the key."""
    probes: bool = True
    """Whether the balancer asks for readiness."""


@dataclass
class Stage:
    """Everything that the fault of a round can reach."""

    cluster: Cluster
    services: list[Service]
    load: Load
    history: History
    pace: float
    """1 in a whole run, less in a quick one: the share of the usual time."""
    bounds: Bounds
    balancer: Balancer | None = None
    notes: list[str] = field(default_factory=list)
    breaches: list[str] = field(default_factory=list)

    @property
    def service(self) -> Service:
        """The first service."""
        return self.services[0]

    async def hold(self, seconds: float) -> None:
        """Let time pass, less of it in a quick run."""
        await asyncio.sleep(seconds * self.pace)

    def require(self, condition: object, breach: str) -> None:
        """Note a breach unless the condition holds."""
        if not condition and breach not in self.breaches:
            self.breaches.append(breach)


Nemesis = Callable[[Stage], Awaitable[None]]


class Prober:
    """Asks for the health of a service each tenth of a second.

    A service without /livez and /readyz is only asked for /ping.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self.is_ready = True
        self._live = self._ready = ""
        self.slowest = 0.0
        """Seconds that a liveness check took at most."""
        self.dead = 0
        """Liveness checks that were not answered 200."""
        self.became_unready: list[float] = []
        """When readiness failed after it had not (time.monotonic)."""
        self.became_ready: list[float] = []

    async def run(self) -> None:
        """Ask until cancelled."""
        self._live = await self._offered("/livez", "/ping")
        self._ready = await self._offered("/readyz", "")
        await asyncio.gather(self._ask_liveness(), self._ask_readiness())

    async def _offered(self, path: str, otherwise: str) -> str:
        return path if await status_of(self._port, path) == 200 else otherwise

    async def _ask_liveness(self) -> None:
        while True:
            began = time.monotonic()
            self.dead += await status_of(self._port, self._live, GIVEN_UP) != 200
            self.slowest = max(self.slowest, time.monotonic() - began)
            await asyncio.sleep(0.1)

    async def _ask_readiness(self) -> None:
        while self._ready:
            now_ready = await status_of(self._port, self._ready, GIVEN_UP) == 200
            if now_ready != self.is_ready:
                (self.became_ready if now_ready else self.became_unready).append(time.monotonic())
            self.is_ready = now_ready
            await asyncio.sleep(0.1)

    @property
    def asks_readiness(self) -> bool:
        """Return whether the service offers /readyz."""
        return bool(self._ready)


async def new_history(cluster: Cluster, run: str) -> History:
    """Empty the tables; return a history with new counters."""
    await cluster.execute("TRUNCATE song, cities, idempotency RESTART IDENTITY CASCADE")
    rows = await cluster.fetch(
        f"INSERT INTO song (name, artist, year) SELECT 'counter-' || n, '{COUNTER}', 1"
        f" FROM generate_series(1, {COUNTERS}) AS n RETURNING id"
    )
    return History(run, [row["id"] for row in rows])


async def check_backends(stage: Stage) -> None:
    """Note a breach if the services keep transactions open, or more connections than they may."""

    async def busy() -> Any:
        rows = await stage.cluster.fetch(
            f"SELECT state, query {OUR_BACKENDS} AND state <> 'idle' AND backend_type ="
            " 'client backend'"
        )
        return [f"{row['state']}: {row['query'][:80]}" for row in rows]

    async def is_idle() -> bool:
        return not await busy()

    if not await wait_until(is_idle, stage.bounds.idle):
        later = f"{stage.bounds.idle:g} s later"
        stage.breaches.append(f"backends are not idle {later}: {await busy()}")
    [number] = await stage.cluster.fetch(f"SELECT count(*) {OUR_BACKENDS}")
    most = POOL_SIZE * sum(service.workers for service in stage.services)
    stage.require(number["count"] <= most, f"{number['count']} backends, where {most} may be")


async def answers(cluster: Cluster, seconds: float = 30) -> None:
    """Wait until PostgreSQL accepts connections."""

    async def is_up() -> bool:
        with suppress(OSError, asyncpg.PostgresError, TimeoutError):
            await cluster.execute("SELECT 1")
            return True
        return False

    if not await wait_until(is_up, seconds):
        raise SystemExit("PostgreSQL does not accept connections again.")


@asynccontextmanager
async def background(work: Awaitable[None]) -> AsyncIterator[None]:
    """Run something meanwhile, and cancel it at the end."""
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
