"""Starts the server of a folder again when it has died alone."""

import logging
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from songbook.db.embedded.account import EmbeddedError
from songbook.db.embedded.failures import embedded_error
from songbook.db.embedded.server import Server
from songbook.logs import Event

_PERIOD_SECONDS = 1.0
_MAX_PERIOD_SECONDS = 30.0
"""After failures the period doubles up to this."""

_logger = logging.getLogger(__name__)


@contextmanager
def watched(server: Server) -> Iterator[None]:
    """Look once a second whether the server still runs, and start it again if not."""
    ended = threading.Event()
    thread = threading.Thread(target=_watch, args=(server, ended), name="watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _watch(server: Server, ended: threading.Event) -> None:
    period = _PERIOD_SECONDS
    while not ended.wait(period):
        try:
            if server.restart_if_gone():
                restarted = Event(
                    "PostgreSQL had ended and was started again", folder=str(server.folder)
                )
                _logger.warning(restarted)
            period = _PERIOD_SECONDS
        except (OSError, EmbeddedError, subprocess.SubprocessError) as error:
            period = min(2 * period, _MAX_PERIOD_SECONDS)
            reason = error
            if not isinstance(error, EmbeddedError):
                reason = embedded_error(server.folder, error)
            text = "PostgreSQL has ended and cannot be started again"
            failed = Event(text, folder=str(server.folder), reason=str(reason))
            _logger.error(failed)  # noqa: TRY400 - the reason is enough
