"""The rounds: each a fault, what it needs, and the sabotage that must turn it red."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass

import faults_nemeses as nemeses
from faults_stage import Nemesis, Sabotage


def needs_root() -> str:
    """Return why a file system cannot be mounted, empty if it can."""
    return "" if os.geteuid() == 0 else "only root can mount a small file system"


def needs_pgbouncer() -> str:
    """Return why there is no PgBouncer, empty if there is."""
    return "" if shutil.which("pgbouncer") else "pgbouncer is not installed"


@dataclass(frozen=True)
class Round:
    """A fault under load."""

    title: str
    nemesis: Nemesis
    sabotages: tuple[Sabotage, ...] = ()
    connections: int = 48
    workers: int = 1
    servers: int = 1
    is_killed: bool = False
    """Whether the service, or a worker, is killed: it may not always be alive."""
    becomes_unready: bool = False
    """Whether /readyz must fail within 3 s."""
    loses_none: bool = False
    """Whether no request may fail at all."""
    behind_pgbouncer: bool = False
    obstacle: Callable[[], str] = str
    """Returns why the round cannot run here."""


FORGETS = {
    "synchronous_commit": "off",
    "wal_writer_delay": "10s",
    "wal_writer_flush_after": "2GB",
}

ROUNDS = {
    "kill": Round(
        "kill -9 of PostgreSQL",
        nemeses.kill,
        (Sabotage("commits are not flushed", cluster=FORGETS),),
    ),
    "backend": Round("kill -9 of one backend", nemeses.kill_backend),
    "fast": Round("restart, fast", nemeses.restart_fast),
    "immediate": Round("restart, immediate", nemeses.restart_immediate),
    "terminate": Round(
        "backends terminated each second",
        nemeses.terminate,
        (Sabotage("updates ignore If-Match", service="overwrite"),),
    ),
    "freeze": Round(
        "PostgreSQL frozen for 12 s",
        nemeses.freeze,
        (Sabotage("statements have no timeout", service="wait"),),
        becomes_unready=True,
    ),
    "cut": Round(
        "connection cut after COMMIT",
        nemeses.cut,
        (
            Sabotage("clients retry without the key", keeps_keys=False),
            Sabotage("an unknown outcome is called a failure", service="guess"),
        ),
    ),
    "silence": Round("PostgreSQL silent on connect", nemeses.silence, becomes_unready=True),
    "exhaust": Round("max_connections exhausted", nemeses.exhaust),
    "read-only": Round("failover to a standby (read-only)", nemeses.make_read_only),
    "lock": Round("table locked for 5 s", nemeses.lock_table),
    "standby": Round("synchronous standby frozen", nemeses.stop_standby),
    "disk": Round("disk full", nemeses.fill_disk, obstacle=needs_root),
    "pgbouncer": Round(
        "backends terminated behind PgBouncer",
        nemeses.terminate,
        behind_pgbouncer=True,
        obstacle=needs_pgbouncer,
    ),
    "abort": Round("clients abort", nemeses.abort, connections=16),
    "race": Round(
        "one city created by 32 clients at once",
        nemeses.race,
        (Sabotage("no unique index", sql="ALTER TABLE cities DROP CONSTRAINT uq_cities_name"),),
        connections=8,
    ),
    "worker": Round("kill -9 of a worker", nemeses.kill_workers, workers=2, is_killed=True),
    "service": Round("kill -9 of the service", nemeses.kill_service, is_killed=True),
    "rolling": Round(
        "rolling restarts",
        nemeses.roll,
        (
            Sabotage("no drain", settings={"DRAIN_SECONDS": "0"}),
            Sabotage("the balancer does not ask for readiness", probes=False),
        ),
        servers=2,
        is_killed=True,
        loses_none=True,
    ),
    "rolling-workers": Round(
        "rolling restarts and SIGHUP, 2 workers",
        nemeses.roll_workers,
        connections=32,
        servers=2,
        workers=2,
        is_killed=True,
        loses_none=True,
    ),
}
QUICK = ("kill", "terminate", "cut", "service")
