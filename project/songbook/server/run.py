"""Runs uvicorn: address, limits, trusted proxies and logging."""

import errno
import os
import re
import socket
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.config import LOGGING_CONFIG

import songbook
from songbook.config import CommandError, Settings
from songbook.server.protocol import HttpProtocol


def check_address(host: str, port: int) -> int:
    """Return the port, for 0 a free one. Raises CommandError if it cannot be bound."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.create_server((host, port), family=family) as listener:
            bound: int = listener.getsockname()[1]
            return bound
    except OSError as error:
        reasons = {
            errno.EADDRINUSE: f"port {port} is in use: choose another with PORT or --port",
            errno.EACCES: f"port {port} needs privileges: choose one above 1023",
        }
        other = f"cannot listen on {host}: correct HOST or --host"
        raise CommandError(f"{reasons.get(error.errno or 0, other)}.") from None


def serve(application: str, settings: Settings, port: int, *, reload: bool = False) -> None:
    """Serve the application with this import string, as `app.main:app`, until a signal.

    With `reload` one process restarts when the code changes, and logs every request.
    """
    if settings.oauth_token_secret is None:  # the workers have to share it
        os.environ["OAUTH_TOKEN_SECRET"] = settings.token_secret
    uvicorn.run(
        application,
        host=settings.host,
        port=port,
        workers=None if reload else settings.workers,
        reload=reload,
        reload_dirs=_source_folders(application) if reload else None,
        http=HttpProtocol,
        ws="none",
        log_config=log_config(settings.log_level),
        log_level=settings.log_level.lower(),
        access_log=reload,
        server_header=False,
        proxy_headers=bool(settings.forwarded_allow_ips),
        forwarded_allow_ips=settings.forwarded_allow_ips,
        timeout_graceful_shutdown=20,
        timeout_keep_alive=75,
    )


def log_config(level: str) -> dict[str, Any]:
    """Return uvicorn's logging configuration with a handler for all other loggers."""
    config = deepcopy(LOGGING_CONFIG)
    formatters, handlers = config["formatters"], config["handlers"]
    formatters["named"] = {**formatters["default"], "fmt": "%(levelprefix)s [%(name)s] %(message)s"}
    handlers["named"] = {**handlers["default"], "formatter": "named"}
    config["root"] = {"handlers": ["named"], "level": level}
    # without a handler SQLAlchemy would log to stdout with ECHO_SQL
    config["loggers"]["sqlalchemy.engine.Engine"] = {"handlers": ["named"], "propagate": False}
    return config


def _source_folders(application: str) -> list[str]:
    """Return the folders of the service's package and of this library."""
    spec = find_spec(re.split("[.:]", application)[0])
    assert spec is not None, "uvicorn imports it"
    own = spec.submodule_search_locations or [str(Path(spec.origin or "").parent)]
    return [*own, str(Path(songbook.__file__).parent)]
