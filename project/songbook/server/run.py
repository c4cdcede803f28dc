"""How uvicorn serves: its limits, whom it believes, what it logs."""

import os
from copy import deepcopy
from typing import Any

import uvicorn
from uvicorn.config import LOGGING_CONFIG

from songbook.config import Settings
from songbook.server.protocol import Protocol

_GRACEFUL_SECONDS = 20
_KEEP_ALIVE_SECONDS = 75


def run(settings: Settings, port: int) -> None:
    """Serve until a signal comes, in as many processes as the settings say."""
    if settings.oauth_token_secret is None:  # or each worker would refuse the others' tokens
        os.environ["OAUTH_TOKEN_SECRET"] = settings.token_secret
    uvicorn.run(
        "app.main:app",
        host=settings.host,
        port=port,
        workers=settings.workers,
        http=Protocol,
        log_config=log_config(settings.log_level),
        log_level=settings.log_level.lower(),
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.forwarded_allow_ips),
        forwarded_allow_ips=settings.forwarded_allow_ips,
        timeout_graceful_shutdown=_GRACEFUL_SECONDS,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
    )


def log_config(level: str) -> dict[str, Any]:
    """Return uvicorn's logging with a handler for all other loggers, the service's among them."""
    config = deepcopy(LOGGING_CONFIG)
    formatters, handlers = config["formatters"], config["handlers"]
    formatters["named"] = {**formatters["default"], "fmt": "%(levelprefix)s [%(name)s] %(message)s"}
    handlers["named"] = {**handlers["default"], "formatter": "named"}
    config["root"] = {"handlers": ["named"], "level": level}
    # With ECHO_SQL, SQLAlchemy would give a logger that has no handler one of its own, on stdout.
    config["loggers"]["sqlalchemy.engine.Engine"] = {"handlers": ["named"], "propagate": False}
    return config
