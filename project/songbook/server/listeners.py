"""The sockets that the service listens on."""

import errno
import socket

from songbook.config import CommandError


def check_address(host: str, port: int, option: str = "PORT or --port") -> int:
    """Return the port, for 0 a free one. Raises CommandError if it cannot be bound.

    `option` is where the port was set.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with _bind(family, address) as bound:  # without listening: a client would be reset
            return int(bound.getsockname()[1])
    except OSError as error:
        raise _cannot_listen(error, host, port, option) from None


def bind(host: str, port: int) -> list[socket.socket]:
    """Return a socket for each address of the host, IPv4 and IPv6. Raises CommandError.

    An address that this machine does not have is left out if there is another one, as `localhost`
    may be `::1` where there is no IPv6.
    """
    bound: list[socket.socket] = []
    failure = OSError()
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise _cannot_listen(error, host, port) from None
    for family, address in dict.fromkeys((each[0], each[4]) for each in found):
        try:
            bound.append(_bind(family, address))
        except OSError as error:
            if error.errno not in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
                raise _cannot_listen(error, host, port) from None
            failure = error
    if not bound:
        raise _cannot_listen(failure, host, port)
    return bound


def _bind(family: int, address: object) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:  # else :: takes the port of 0.0.0.0, too
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)  # type: ignore[arg-type]
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def _cannot_listen(
    error: OSError, host: str, port: int, option: str = "PORT or --port"
) -> CommandError:
    reasons = {
        errno.EADDRINUSE: f"port {port} is in use: choose another with {option}",
        errno.EACCES: f"port {port} needs privileges: choose one above 1023",
    }
    other = f"cannot listen on {host}: correct HOST or --host"
    return CommandError(f"{reasons.get(error.errno or 0, other)}.")
