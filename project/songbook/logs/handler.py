"""The log handler: a client that causes warnings at will does not fill the disk."""

import logging
import sys
from collections.abc import Hashable
from contextlib import suppress
from dataclasses import dataclass
from threading import Timer
from typing import TextIO

from songbook.logs.events import Event
from songbook.metrics import Counter

_SECONDS = 1.0
"""The least time between two warnings of one kind."""

_MESSAGES = Counter(
    "songbook_log_messages_total", "Messages of the log, with those held back.", ("level",)
)


@dataclass
class _Held:
    """The warnings of one kind that were held back in the last second."""

    last: logging.LogRecord | None = None
    number: int = 0


class ThrottledHandler(logging.StreamHandler[TextIO]):
    """Writes at most one warning of a kind in a second, with the number of the others.

    Warnings with the same logger, message and types of values are of one kind, so that many of one
    exception do not hide another. The first is written at once, and a second later the last of
    those that followed, with `held_back`, the number of the others. Other levels are written as
    they come.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream or sys.stderr)
        self._held: dict[Hashable, _Held] = {}
        self._timer: Timer | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Count a record, and write it or hold it back; the caller holds the lock."""
        if record.levelno >= logging.WARNING:
            _MESSAGES.inc(_level(record))
        if record.levelno != logging.WARNING:
            super().emit(record)
            return
        kind = (record.name, _kind(record))
        if held := self._held.get(kind):
            held.last, held.number = record, held.number + 1
            return
        self._held[kind] = _Held()
        super().emit(record)
        self._start_timer()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - its name in logging
        """Write where a message is that cannot be formatted; Python would write its values."""
        place = f"{record.pathname}:{record.lineno}"
        failed = Event("Message cannot be formatted", place=place, error=sys.exception())
        fields = {"name": record.name, "levelno": logging.ERROR, "levelname": "ERROR"}
        with suppress(OSError, ValueError):  # the stream is closed, or its disk full
            self.stream.write(self.format(logging.makeLogRecord({**fields, "msg": failed})) + "\n")
            self.flush()

    def close(self) -> None:
        """Write what is held back."""
        if self._timer:
            self._timer.cancel()
        self._write_held()
        super().close()

    def _start_timer(self) -> None:
        if self._timer is None:
            self._timer = Timer(_SECONDS, self._next_second)
            self._timer.daemon = True
            self._timer.start()

    def _next_second(self) -> None:
        self.acquire()
        try:
            self._timer = None
            if self._write_held():
                self._start_timer()
        finally:
            self.release()

    def _write_held(self) -> bool:
        """Write the last record of each kind; return whether there was any."""
        held, self._held = self._held, {}
        for kind, each in held.items():
            if each.last:
                if each.number > 1:
                    vars(each.last)["held_back"] = each.number - 1
                super().emit(each.last)
                self._held[kind] = _Held()
        return bool(self._held)


def _level(record: logging.LogRecord) -> str:
    """Return the name of the level, or of that below it."""
    return logging.getLevelName(record.levelno // 10 * 10).lower()


def _kind(record: logging.LogRecord) -> Hashable:
    if isinstance(record.msg, Event):
        return record.msg.kind
    return (str(record.msg), *map(type, record.args or ()))
