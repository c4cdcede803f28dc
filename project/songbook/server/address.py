"""The address to listen on."""

import errno
import socket

from songbook.config import StartError


def check_address(host: str, port: int) -> int:
    """Return the port, for 0 a free one; raise StartError if it cannot be listened on."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, kind, _, _, address = found[0]
        with socket.socket(family, kind) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            bound: int = listener.getsockname()[1]
            return bound
    except OSError as error:
        reasons = {
            errno.EADDRINUSE: f"port {port} is in use: choose another with PORT or --port",
            errno.EACCES: f"port {port} needs privileges: choose one above 1023",
        }
        other = f"cannot listen on {host}: correct HOST or --host"
        raise StartError(f"{reasons.get(error.errno or 0, other)}.") from None
