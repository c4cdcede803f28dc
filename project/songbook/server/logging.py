"""What the process logs, and how."""

from copy import deepcopy
from typing import Any

from uvicorn.config import LOGGING_CONFIG


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
