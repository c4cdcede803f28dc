"""Runs uvicorn: address, limits, trusted proxies and workers."""

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from socket import socket
from tempfile import TemporaryDirectory
from typing import Any

import uvicorn
from uvicorn.config import STARTUP_FAILURE

import songbook
from songbook.config import Settings
from songbook.logs import log_config
from songbook.metrics import read_snapshots, serve_metrics
from songbook.server.connections import protocol_factory
from songbook.server.listeners import bind
from songbook.server.server import Server
from songbook.server.workers import START_SECONDS, Workers


def serve(
    application: str,
    settings: Settings,
    port: int,
    *,
    sockets: Sequence[socket] = (),
    reload: bool = False,
) -> None:
    """Serve the application with this import string, as `app.main:app`, until a signal.

    `sockets` listen already, in place of HOST and PORT. With `reload`, which does not use them, one
    process restarts when the code changes, and logs every request. Raises CommandError if the
    address cannot be bound, or the workers cannot be kept running.
    """
    _share_defaults(settings)
    options = _options(settings, port)
    if reload:
        folders = _source_folders(application)
        uvicorn.run(application, reload=True, reload_dirs=folders, access_log=False, **options)
        return
    config = uvicorn.Config(application, access_log=False, workers=settings.workers, **options)
    listeners = [*sockets] or bind(settings.host, port)
    with _shared_metrics(settings):
        if settings.workers > 1:
            Workers(config, listeners, settings.drain_seconds).run()
        else:
            _serve_alone(config, listeners, settings.drain_seconds)


def _share_defaults(settings: Settings) -> None:
    """Set what serving adds to the settings, which each worker's application reads again."""
    if settings.oauth_token_secret is None:
        os.environ["OAUTH_TOKEN_SECRET"] = settings.token_secret
    if settings.access_log is None and settings.environment == "dev":
        os.environ["ACCESS_LOG"] = "true"


def _options(settings: Settings, port: int) -> dict[str, Any]:
    return {
        "host": settings.host,
        "port": port,
        "http": protocol_factory(settings),
        "ws": "none",
        "log_config": log_config(settings.log_level, settings.log_format),
        "log_level": settings.log_level.lower(),
        "server_header": False,
        "proxy_headers": bool(settings.forwarded_allow_ips),
        "forwarded_allow_ips": settings.forwarded_allow_ips,
        "timeout_graceful_shutdown": 20,
        "timeout_keep_alive": 75,
        "timeout_worker_healthcheck": START_SECONDS,
    }


def _serve_alone(config: uvicorn.Config, listeners: list[socket], drain_seconds: float) -> None:
    config.load_app()
    server = Server(config, drain_seconds)
    with suppress(KeyboardInterrupt):  # which uvicorn raises again at its end
        server.run(listeners)
    if not server.started:
        sys.exit(STARTUP_FAILURE)


@contextmanager
def _shared_metrics(settings: Settings) -> Iterator[None]:
    """Serve the metrics of METRICS_DIR on METRICS_PORT; make a folder for workers without one."""
    folder = settings.metrics_dir
    with ExitStack() as stack:
        if folder is None and settings.workers > 1:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="metrics-")))
            os.environ["METRICS_DIR"] = str(folder)
        if folder and settings.metrics_port is not None:
            read = partial(read_snapshots, folder)
            stack.callback(serve_metrics(settings.host, settings.metrics_port, read))
        yield


def _source_folders(application: str) -> list[str]:
    """Return the folders of the service's package and of this library."""
    spec = find_spec(re.split("[.:]", application)[0])
    assert spec is not None, "uvicorn imports it"
    own = spec.submodule_search_locations or [str(Path(spec.origin or "").parent)]
    return [*own, str(Path(songbook.__file__).parent)]
