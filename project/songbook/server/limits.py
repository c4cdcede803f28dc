"""The bounds of connections, and what the system knows of sockets."""

import fcntl
import resource
import socket
import sys
import termios
from array import array
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from songbook.config import Settings

SPARE_FILES = 200
"""Open files that connections leave to PostgreSQL, imports and logs."""

_SO_NWRITE = 0x1024
"""The option of a socket on macOS that is the number of its unsent bytes."""


@dataclass(frozen=True)
class Limits:
    """The bounds of the connections of a process, as the settings of these names."""

    head_seconds: float
    body_seconds: float
    unread_seconds: float
    unread_bytes: int
    connections: int

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the limits of the settings; the limit of open files bounds the connections."""
        return cls(
            settings.head_seconds,
            settings.body_seconds,
            settings.unread_seconds,
            settings.unread_bytes,
            max(1, min(settings.max_connections, _raise_open_files() - SPARE_FILES)),
        )


def _raise_open_files() -> int:
    """Raise the soft limit of open files to the hard one, also for child processes; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS has another limit below an infinite one
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def unsent_bytes(connected: socket.socket) -> int:
    """Return how many bytes the kernel holds that the other side has not received."""
    size = array("i", [0])
    with suppress(OSError):  # it has just been closed
        if sys.platform == "darwin":
            return connected.getsockopt(socket.SOL_SOCKET, _SO_NWRITE)
        fcntl.ioctl(connected.fileno(), termios.TIOCOUTQ, size)
    return size[0]
