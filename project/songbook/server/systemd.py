"""Sockets from systemd and messages to it: sd_listen_fds(3) and sd_notify(3)."""

import os
import socket
from contextlib import suppress

from songbook.config import CommandError

_FIRST = 3
"""The number of the first file descriptor that is passed."""


def inherited_sockets() -> list[socket.socket]:
    """Return the listening sockets that systemd passed to this process, none without it.

    The variables are removed, so that no child takes the sockets for its own. Raises CommandError
    for a file descriptor that is not a listening TCP socket.
    """
    pid, number = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "0")
    os.environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()):
        return []
    return [_inherit(descriptor) for descriptor in range(_FIRST, _FIRST + int(number))]


def _inherit(descriptor: int) -> socket.socket:
    with suppress(OSError):  # no socket, or closed
        listener = socket.socket(fileno=descriptor)
        is_tcp = listener.family in {socket.AF_INET, socket.AF_INET6}
        if is_tcp and listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            listener.set_inheritable(False)
            listener.setblocking(False)
            return listener
    raise CommandError(
        f"file descriptor {descriptor} from systemd is not a listening TCP socket:"
        " set ListenStream to a port, and leave out Accept."
    )


def notify(state: str) -> None:
    """Tell systemd, as `READY=1`, if the unit has `Type=notify`."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    path = f"\0{address[1:]}" if address.startswith("@") else address  # an abstract one
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(state.encode(), path)
