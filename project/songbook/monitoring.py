"""Metrics for Prometheus: gauges of the service, `/metrics`, and the file shared with others."""

import asyncio
import hmac
import logging
import platform
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from itertools import count

from starlette.requests import Request
from starlette.responses import Response

import songbook
from songbook.auth import PUBLIC
from songbook.config import CommandError, Settings
from songbook.db import OK, Use
from songbook.errors import NotFound, Unauthenticated
from songbook.http import Router, ServiceState
from songbook.logs import Event
from songbook.metrics import (
    Gauge,
    SharedFile,
    Snapshot,
    expose,
    read_process,
    read_snapshots,
    registry_of,
    serve_metrics,
    snapshot,
)

router = Router(dependencies=[PUBLIC], include_in_schema=False)

_PERIOD_SECONDS = 1.0
"""How old the gauges, and what other processes have published, may be."""

_CHECK_PERIODS = 10
"""The periods from one check of the readiness to the next, and before the first."""

_INFO = Gauge("songbook_info", "1 for each process.", ("version", "python"))
_POOL_SIZE = Gauge("songbook_pool_size", "The connections that the pools may have.")
_POOL_IN_USE = Gauge("songbook_pool_in_use", "The connections in use.")
_POOL_WAITING = Gauge("songbook_pool_waiting", "The requests that wait for a connection.", ("use",))
_BULK = Gauge("songbook_bulk_in_progress", "The imports and exports in progress.")
_READY = Gauge("songbook_ready", "Whether a check of /readyz succeeds.", ("check",), merge="min")
_BEHIND = Gauge(
    "songbook_schema_revisions_behind",
    "The revisions that the database lacks, when last known.",
    merge="max",
)
_CLOCK = Gauge(
    "songbook_clock_difference_seconds",
    "How much the clock of a process is ahead of the database's, when last known.",
    merge="max",
)
_LAST_SUCCESS = Gauge(
    "songbook_housekeeping_last_success_seconds",
    "When a job was done last (Unix time), 0 before the first time.",
    ("task",),
    merge="max",
)

_logger = logging.getLogger(__name__)


@router.get("/metrics")
async def read_metrics(request: Request) -> Response:
    """Return the metrics of all processes of the service, for Prometheus."""
    service: ServiceState = request.app.state.service
    _check_access(service.settings, request.headers.get("authorization", ""))
    registry = registry_of(partial(list, await _snapshots(service)))
    content, media_type = expose(registry, request.headers.get("accept", ""))
    return Response(content, headers={"Cache-Control": "no-store"}, media_type=media_type)


async def _snapshots(service: ServiceState) -> list[Snapshot]:
    """Return the metrics of each process, of this one those of the moment."""
    read_gauges(service)
    if not service.shared_metrics:
        return [snapshot()]
    _publish(service.shared_metrics)  # what was told once stays if this process is killed
    return await asyncio.to_thread(read_snapshots, service.shared_metrics.folder)


def _check_access(settings: Settings, authorization: str) -> None:
    """Raise NotFound or Unauthenticated unless a request may read the metrics here."""
    token = settings.metrics_token
    is_open = settings.environment != "prod" or token is not None
    if settings.metrics_port is not None or not is_open:
        raise NotFound
    if token is not None:
        expected = f"Bearer {token.get_secret_value()}".encode()
        if not hmac.compare_digest(authorization.encode(), expected):
            raise Unauthenticated


def read_gauges(service: ServiceState) -> None:
    """Set the gauges of this process."""
    read_process()
    pool = service.database.pool
    _INFO.set(1, songbook.__version__, platform.python_version())
    _POOL_SIZE.set(pool.size)
    _POOL_IN_USE.set(pool.in_use)
    for use in Use:
        _POOL_WAITING.set(pool.waiting(use), use.name.lower())
    _BULK.set(service.database.bulk_in_progress)
    readiness = service.readiness
    for name, each in readiness.last.items():
        _READY.set(each == OK, name)
    for job, moment in service.housekeeping.last_success.items():
        _LAST_SUCCESS.set(moment, job)
    _BEHIND.set(readiness.revisions_behind)
    _CLOCK.set(readiness.clock_difference)


@asynccontextmanager
async def monitored(service: ServiceState) -> AsyncIterator[None]:
    """Keep the gauges current, and share the metrics of this process, within the block.

    Raises CommandError if the folder or the port cannot be used.
    """
    settings = service.settings
    service.shared_metrics = _share(settings)
    stop = _listen(settings)
    task = asyncio.create_task(_watch(service))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        stop()
        if service.shared_metrics:
            service.shared_metrics.close()


def _share(settings: Settings) -> SharedFile | None:
    if settings.metrics_dir is None:
        return None
    try:
        return SharedFile(settings.metrics_dir)
    except OSError as error:
        raise CommandError(f"METRICS_DIR cannot be used: {error}.") from None


def _listen(settings: Settings) -> Callable[[], None]:
    """Serve the metrics of a single process on METRICS_PORT; return how to stop it.

    Those of a folder are served by the command `serve`. Raises CommandError.
    """
    if settings.metrics_port is None or settings.metrics_dir:
        return lambda: None
    try:
        return serve_metrics(settings.host, settings.metrics_port, lambda: [snapshot()])
    except OSError as error:
        raise CommandError(f"METRICS_PORT cannot be used: {error}.") from None


async def _watch(service: ServiceState) -> None:
    is_failing = False
    for period in count(1):
        if period % _CHECK_PERIODS == 0:
            await service.readiness.checks()
        read_gauges(service)
        if service.shared_metrics:
            error = _publish(service.shared_metrics)
            if error and not is_failing:
                _logger.warning(Event("Metrics cannot be shared", error=error))
            is_failing = error is not None
        await asyncio.sleep(_PERIOD_SECONDS)


def _publish(shared: SharedFile) -> OSError | None:
    """Share the metrics of this process; return why that fails, as on a full disk."""
    try:
        shared.publish()
    except OSError as error:
        return error
    return None
