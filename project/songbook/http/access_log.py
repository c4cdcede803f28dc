"""The access log: a line for each request, without values of its query.

The lines are bytes made by hand, and one write for all of an iteration of the event loop: a message
of the logging module costs 25 µs, and a small request takes 60.
"""

import asyncio
import json
import os
import select
import stat
from datetime import UTC, datetime
from functools import lru_cache
from time import localtime, strftime, time
from typing import NamedTuple

from songbook.config import Settings
from songbook.metrics import Counter

_PIPE_BYTES = select.PIPE_BUF
"""What a pipe that is ready takes without blocking (POSIX)."""

_DROPPED = Counter(
    "songbook_log_dropped_lines_total", "Lines of the access log that could not be written."
)


class Access(NamedTuple):
    """A request and its response."""

    method: str
    route: str
    """The path template, empty if no route matched."""
    status: int
    seconds: float
    size: int
    """The bytes of the content of the response."""
    request_id: str
    trace_id: str | None
    user_id: int | None


class AccessLog:
    """Writes lines to an open file, which never blocks: a reader that hangs loses lines."""

    def __init__(self, file: int, format: str = "auto") -> None:
        self._file = file
        is_readable = format == "console" or (format == "auto" and os.isatty(file))
        self._format = _readable if is_readable else _json
        self._poll: select.poll | None = None
        if not stat.S_ISREG(os.fstat(file).st_mode):
            self._poll = select.poll()
            self._poll.register(file, select.POLLOUT)
        self._accesses: list[Access] = []

    def write(self, access: Access) -> None:
        """Write a line at the end of this iteration of the event loop."""
        if not self._accesses:
            asyncio.get_running_loop().call_soon(self._flush)
        self._accesses.append(access)

    def _flush(self) -> None:
        accesses, self._accesses = self._accesses, []
        now = time()
        lines = [self._format(now, each) for each in accesses]
        if self._poll is None:
            self._write(lines)
            return
        block, size = list[bytes](), 0
        for line in lines:
            size += len(line)
            if size > _PIPE_BYTES and block:
                self._write(block)
                block, size = [], len(line)
            block.append(line)
        self._write(block)

    def _write(self, lines: list[bytes]) -> None:
        """Write lines if that is possible at once, else count them."""
        block = b"".join(lines)
        try:
            is_ready = self._poll is None or self._poll.poll(0)
            if is_ready and os.write(self._file, block) == len(block):
                return
        except OSError:  # a full disk, or a closed pipe
            pass
        _DROPPED.inc(by=len(lines))


def open_access_log(settings: Settings, file: int = 1) -> AccessLog | None:
    """Return the access log on standard output, if the settings want one."""
    return AccessLog(file, settings.log_format) if settings.access_log else None


def _json(now: float, access: Access) -> bytes:
    trace = f',"trace_id":"{access.trace_id}"' if access.trace_id else ""
    user = f',"user_id":{access.user_id}' if access.user_id else ""
    return (
        f'{{"timestamp":"{_timestamp(now)}","level":"info","event":"request","method":"{access.method}"'
        f',"route":{_quoted(access.route)},"status":{access.status}'
        f',"duration_ms":{access.seconds * 1000:.2f},"bytes":{access.size}'
        f',"request_id":"{access.request_id}"{trace}{user}}}\n'
    ).encode()


def _readable(now: float, access: Access) -> bytes:
    user = f" user {access.user_id}" if access.user_id else ""
    return (
        f"{strftime('%H:%M:%S', localtime(now))}"
        f" {access.method} {access.route or '(no route)'} {access.status}"
        f" {access.seconds * 1000:.1f} ms {access.size} B{user} {access.request_id}\n"
    ).encode()


def _timestamp(moment: float) -> str:
    """Return the time as RFC 3339 writes it, with milliseconds."""
    second = int(moment)
    return f"{_second(second)}.{int((moment - second) * 1000):03}Z"


@lru_cache(maxsize=1)
def _second(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S")


@lru_cache(maxsize=1000)
def _quoted(text: str) -> str:
    return json.dumps(text)
