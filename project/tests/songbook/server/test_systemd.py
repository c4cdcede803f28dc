"""A service that systemd starts: it takes the sockets, reports, and loses nothing at a restart."""

import os
import secrets
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
from sqlalchemy.engine import URL

from tests.support.databases import spelled
from tests.support.deploys import PING, tiny
from tests.support.marks import slow
from tests.support.processes import Service, ended_at_last
from tests.support.raw_http import Reply, Served, head, read_reply
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.processes, slow]

SENTENCE = (
    "file descriptor 3 from systemd is not a listening TCP socket:"
    " set ListenStream to a port, and leave out Accept."
)


def activated(given: socket.socket | IO[bytes], *module: str, **environment: str) -> Service:
    """Start a module that is passed a socket."""
    number = str(given.fileno())
    return Service("tests.support.activated", number, *module, passed_files=number, **environment)


@contextmanager
def notified() -> Iterator[tuple[str, socket.socket]]:
    """Give the address that a service reports to, and what receives the reports."""
    name = f"songbook-{secrets.token_hex(6)}"  # an abstract one, as systemd's in a container
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"\0{name}")
        receiver.settimeout(60)
        yield f"@{name}", receiver


@pytest.mark.parametrize("workers", [1, 2])
def test_a_restart_loses_no_connection_because_systemd_keeps_the_socket(workers: int) -> None:
    def ask() -> None:
        while not stopped.is_set():
            with socket.create_connection(listener.getsockname(), 20) as connection:
                connection.sendall(head("GET", "/ping", "Connection: close"))
                replies.append(read_reply(connection))

    replies: list[Reply] = []
    stopped = threading.Event()
    client = threading.Thread(target=ask)
    given = {"WORKERS": str(workers), "DRAIN_SECONDS": "0"}
    with (
        socket.create_server(("127.0.0.1", 0), backlog=128) as listener,
        notified() as (address, reports),
    ):
        client.start()
        service = activated(listener, "tests.support.tiny", NOTIFY_SOCKET=address, **given)
        with ended_at_last(service):
            assert reports.recv(100) == b"READY=1"
            wait_until(lambda: len({reply.body for reply in replies}) == workers)
            service.end(signal.SIGTERM)
        assert reports.recv(100) == b"STOPPING=1"
        before = len(replies)
        with ended_at_last(activated(listener, "tests.support.tiny")):
            wait_until(lambda: len(replies) > before)
            stopped.set()
            client.join(40)

    assert {reply.status for reply in replies} == {200}
    assert len({reply.body for reply in replies}) == workers + 1


def test_the_command_serves_at_the_socket_and_says_so(migrated_url: URL) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        given = {"DATABASE_URL": spelled(migrated_url), "PORT": str(port)}
        service = activated(listener, "tests.samples", "serve", **given)
        with ended_at_last(service):
            assert service.said() == f"http://localhost:{port}"
            assert Served(port).ask(PING).status == 200


@pytest.mark.parametrize("kind", ["a Unix socket", "a datagram socket", "a file"])
def test_what_is_not_a_listening_tcp_socket_is_refused_in_one_sentence(
    kind: str, tmp_path: Path
) -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram,
        socket.socket(socket.AF_UNIX) as unix,
        tempfile.TemporaryFile() as file,
    ):
        unix.bind(str(tmp_path / "socket"))
        unix.listen()
        kinds: dict[str, socket.socket | IO[bytes]] = {
            "a datagram socket": datagram,
            "a Unix socket": unix,
            "a file": file,
        }
        service = activated(kinds[kind], "tests.samples", "serve", DATABASE_URL="")
        _, told = service.process.communicate(timeout=60)

    assert told == f"samples: {SENTENCE}\n"
    assert service.process.returncode == 1


def test_sockets_for_another_process_are_left_alone() -> None:
    with tiny(0, LISTEN_PID=str(os.getpid()), LISTEN_FDS="1") as served:
        assert served.ask(PING).status == 200
