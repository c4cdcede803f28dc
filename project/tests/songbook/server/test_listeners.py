"""The sockets that the service listens on."""

import errno
import socket

import pytest

from songbook.config import CommandError
from songbook.server.listeners import bind, check_address


def test_a_port_in_use_is_refused_with_the_setting_that_chooses_another() -> None:
    with socket.create_server(("127.0.0.1", 0)) as used:
        port = used.getsockname()[1]
        with pytest.raises(CommandError, match=f"port {port} is in use: .* METRICS_PORT"):
            check_address("127.0.0.1", port, "METRICS_PORT")
        with pytest.raises(CommandError, match=f"port {port} is in use: .* PORT or --port"):
            bind("127.0.0.1", port)


@pytest.mark.parametrize("host", ["192.0.2.1", "nowhere.invalid"])
def test_a_host_that_is_not_this_machine_is_refused(host: str) -> None:
    for listen in (check_address, bind):
        with pytest.raises(CommandError, match=f"cannot listen on {host}: correct HOST"):
            listen(host, 0)


def test_an_address_that_the_machine_lacks_is_left_out_if_there_is_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`localhost` may be ::1 where there is no IPv6."""

    def lookup(*_: object, **__: object) -> list[object]:
        kind = (socket.SOCK_STREAM, 0, "")
        return [
            (socket.AF_INET, *kind, ("192.0.2.1", 0)),
            (socket.AF_INET, *kind, ("127.0.0.1", 0)),
        ]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    [bound] = bind("localhost", 0)
    with bound:
        assert bound.getsockname()[0] == "127.0.0.1"
        assert not bound.getblocking()


def test_a_port_that_needs_privileges_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(CommandError, match="port 80 needs privileges: choose one above 1023"):
        bind("127.0.0.1", 80)
