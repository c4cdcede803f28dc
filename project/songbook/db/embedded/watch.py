"""Starts the server of a folder again when it has died alone."""

import logging
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from songbook.db.embedded.account import EmbeddedError
from songbook.db.embedded.server import Server

_PERIOD_SECONDS = 1.0
_MAX_PERIOD_SECONDS = 30.0
"""After failures the period doubles up to this."""

_logger = logging.getLogger(__name__)


@contextmanager
def watched(server: Server) -> Iterator[None]:
    """Look once a second whether the server still runs, and start it again if not."""
    ended = Event()
    thread = Thread(target=_watch, args=(server, ended), name="watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _watch(server: Server, ended: Event) -> None:
    period = _PERIOD_SECONDS
    while not ended.wait(period):
        try:
            if server.restart_if_gone():
                _logger.warning("PostgreSQL in %s had ended and was started again.", server.folder)
            period = _PERIOD_SECONDS
        except (OSError, EmbeddedError, subprocess.SubprocessError) as error:
            period = min(2 * period, _MAX_PERIOD_SECONDS)
            reason = "PostgreSQL in %s has ended and cannot be started again: %s"
            _logger.error(reason, server.folder, error)  # noqa: TRY400 - the reason is enough
