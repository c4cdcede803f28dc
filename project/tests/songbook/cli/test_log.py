"""The log of a service: what a client causes at will is told once a second, with its number."""

import signal
import socket
import time
from collections.abc import Callable

import httpx
import pytest

from tests.support.marks import slow
from tests.support.processes import NOWHERE, Service
from tests.support.services import SAMPLES

pytestmark = slow

REQUESTS = 60


def send(service: Service, message: bytes) -> None:
    """Send bytes on a connection of their own, and read until the service closes it."""
    with socket.create_connection(("127.0.0.1", int(service.address.rpartition(":")[2]))) as one:
        one.sendall(message)
        while one.recv(65536):
            pass


def ask_nonsense(service: Service) -> None:
    """Send what is not HTTP."""
    send(service, b"nonsense\r\n\r\n")


def ask_in_vain(service: Service) -> None:
    """Ask for what the database has, which is away."""
    assert httpx.get(f"{service.address}/books").status_code == 503


@pytest.mark.parametrize(
    ("ask", "event"),
    [
        (ask_nonsense, "Invalid HTTP request"),
        (ask_in_vain, "Request failed"),
    ],
)
def test_a_warning_that_a_client_repeats_is_told_once_a_second_with_the_number_of_the_others(
    ask: Callable[[Service], None], event: str
) -> None:
    with SAMPLES.serving(DATABASE_URL=NOWHERE) as service:
        begun = time.monotonic()
        for _ in range(REQUESTS):
            ask(service)
        seconds = time.monotonic() - begun
        end = service.end(signal.SIGTERM)

    told = [line for line in end.lines() if line["event"] == event]
    assert 2 <= len(told) <= seconds + 2
    assert len(told) + sum(line.get("held_back", 0) for line in told) == REQUESTS
