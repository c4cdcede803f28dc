"""The configuration of Python's logging."""

import logging
import logging.config
from typing import Any

from songbook.logs.handler import ThrottledHandler


def configure_logging(level: str, format: str) -> None:
    """Let all loggers of this process write to stderr."""
    logging.config.dictConfig(log_config(level, format))


def log_config(level: str, format: str) -> dict[str, Any]:
    """Return the configuration for LOG_LEVEL and LOG_FORMAT, which uvicorn gives each worker."""
    handlers = ["stderr"]
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            # by its name: to import structlog takes 60 ms, which a command does not have to wait
            "line": {"()": "songbook.logs.formatter.line_formatter", "format": format}
        },
        "handlers": {"stderr": {"()": stderr_handler, "formatter": "line"}},
        "root": {"handlers": handlers, "level": level},
        "loggers": {
            "alembic.runtime.plugins": {"level": "WARNING"},
            # without a handler SQLAlchemy would log to stdout with ECHO_SQL
            "sqlalchemy.engine.Engine": {"handlers": handlers, "propagate": False},
        },
    }


def stderr_handler() -> ThrottledHandler:
    """Return the handler, and let it have Python's warnings."""
    logging.captureWarnings(capture=True)
    return ThrottledHandler()
