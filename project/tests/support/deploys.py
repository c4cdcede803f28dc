"""Deploys: a server that is told to stop, and the connections to it."""

import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from sqlalchemy.engine import URL

from tests.support.databases import spelled
from tests.support.processes import Service, ended_at_last, free_port
from tests.support.raw_http import Reply, Served, head, read_reply
from tests.support.services import SAMPLES
from tests.support.waiting import PATIENCE, wait_until

PING = head("GET", "/ping")


class Draining(Served):
    """A service, its signals, and connections that are closed at the end."""

    def __init__(self, service: Service, opened: ExitStack) -> None:
        super().__init__(int(service.address.rpartition(":")[2]))
        self.service = service
        self._opened = opened

    def connect(self) -> socket.socket:
        """Open a connection; a machine may be busy."""
        return self._opened.enter_context(
            socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        )

    def kept(self) -> socket.socket:
        """Return a connection that has had an answer and is kept."""
        connection = self.connect()
        assert asked(connection).headers["Connection"] is None
        return connection

    def signal(self, number: signal.Signals = signal.SIGTERM) -> float:
        """Send a signal to the one process that was started; return the time."""
        self.service.process.send_signal(number)
        return time.monotonic()

    def is_closed(self) -> bool:
        """Tell whether nobody listens."""
        try:
            self.connect().close()
        except ConnectionRefusedError:
            return True
        return False

    def code(self) -> int:
        """Wait for the end of the process; return its exit code."""
        self.log = self.service.process.communicate(timeout=PATIENCE)[1]
        return self.service.process.returncode


def asked(connection: socket.socket, request: bytes = PING) -> Reply:
    connection.sendall(request)
    return read_reply(connection)


def ended(connection: socket.socket) -> float:
    """Wait for the end of a connection, which brings nothing more; return the time."""
    assert connection.recv(1) == b""
    return time.monotonic()


@contextmanager
def samples(url: URL, drain_seconds: float) -> Iterator[Draining]:
    """Serve the sample."""
    given = {"DATABASE_URL": spelled(url), "DRAIN_SECONDS": str(drain_seconds)}
    with SAMPLES.serving(**given) as service, ExitStack() as opened:
        yield Draining(service, opened)


@contextmanager
def tiny(drain_seconds: float, **environment: str) -> Iterator[Draining]:
    """Serve the tiny application."""
    port = free_port()
    given = {"PORT": str(port), "DRAIN_SECONDS": str(drain_seconds), **environment}
    service = Service("tests.support.tiny", **given)
    service.address = f"http://127.0.0.1:{port}"
    with ended_at_last(service), ExitStack() as opened:
        served = Draining(service, opened)
        wait_until(lambda: not served.is_closed())
        yield served
