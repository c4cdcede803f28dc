"""Bodies behind their answers: the client gets the answer, and is not read without end."""

import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPConnection
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from sqlalchemy.engine import URL

from songbook.server.protocol import LINGER_BYTES, LINGER_SECONDS
from tests.support.marks import slow
from tests.support.raw_http import chunked, head, message, read_reply
from tests.support.served import Process, process

pytestmark = [pytest.mark.processes, slow]

BOOK = b'{"name":"a","author":"b"}'
MB = 1_000_000
UNREAD = {
    401: ("GET", "/members/me", "application/json"),
    404: ("POST", "/nowhere", "application/json"),
    405: ("DELETE", "/books", "application/json"),
    413: ("POST", "/books", "application/json"),
    415: ("POST", "/books", "text/plain"),
    200: ("GET", "/ping", "application/json"),
}


@pytest.fixture(scope="module")
def served(server: URL, template: URL) -> Iterator[Process]:
    """Give a process that serves."""
    with process(server, template) as found:
        yield found


@pytest.mark.parametrize("status", UNREAD)
def test_a_client_that_sends_all_first_gets_the_answer(served: Process, status: int) -> None:
    method, path, kind = UNREAD[status]
    for _ in range(5):
        request = Request(
            served.address + path, b"x" * 10 * MB, {"Content-Type": kind}, method=method
        )
        try:
            with urlopen(request, timeout=40) as answer:
                found = answer.status
        except HTTPError as error:
            with error:
                found = error.code
        assert found == status


@pytest.mark.parametrize("framing", ["Content-Length: 1000000000", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("status", UNREAD)
def test_a_body_without_end_is_cut(served: Process, status: int, framing: str) -> None:
    method, path, kind = UNREAD[status]
    sent, part = 0, chunked(b"x" * 16_384).removesuffix(b"0\r\n\r\n")
    with served.connect() as connection:
        connection.sendall(head(method, path, f"Content-Type: {kind}", framing))
        with suppress(ConnectionError):
            while sent < 100 * MB:
                connection.sendall(part)
                sent += len(part)

    assert sent < LINGER_BYTES + 12 * MB  # the buffers of the kernel


@pytest.mark.parametrize("lines", [(), ("Expect: 100-continue",)])
def test_an_answer_before_its_body_says_that_the_connection_closes(
    served: Process, lines: tuple[str, ...]
) -> None:
    length = 9 if lines else 10 * MB  # who waits may send it or not, which nobody can know
    with served.connect() as connection:
        connection.sendall(head("GET", "/ping", f"Content-Length: {length}", *lines))
        reply = read_reply(connection)

        assert (reply.status, reply.headers["Connection"]) == (200, "close")
        assert connection.recv(1) == b""


def test_a_client_that_never_sends_its_body_is_cut(served: Process) -> None:
    with served.connect() as connection:
        connection.sendall(head("GET", "/ping", f"Content-Length: {10 * MB}"))
        assert read_reply(connection).status == 200
        begun = time.monotonic()
        with suppress(ConnectionError):
            while time.monotonic() < begun + 4 * LINGER_SECONDS:
                connection.sendall(b"x")
                time.sleep(0.05)

    assert LINGER_SECONDS - 1 < time.monotonic() - begun < 2 * LINGER_SECONDS


def test_a_short_body_that_is_not_read_keeps_the_connection(served: Process) -> None:
    with served.connect() as connection:
        for at in range(3):
            connection.sendall(head("GET", "/ping", "Content-Length: 60000"))
            if at % 2:
                reply = read_reply(connection)
                connection.sendall(b"x" * 60_000)
            else:
                connection.sendall(b"x" * 60_000)
                reply = read_reply(connection)
            assert (reply.status, reply.headers["Connection"]) == (200, None)


@pytest.mark.parametrize("size", [16_384, 100 * MB])
def test_a_long_body_that_is_read_keeps_the_connection(served: Process, size: int) -> None:
    rows = b"name,author\n" + b"a,b\n" * 50_000
    connection = HTTPConnection("127.0.0.1", served.port, timeout=40)
    body: Iterator[bytes] | bytes = rows
    if size < len(rows):
        body = (rows[at : at + size] for at in range(0, len(rows), size))
    for _ in range(2):
        connection.request("POST", "/books?dry_run=true", body, {"Content-Type": "text/csv"})
        with connection.getresponse() as response:
            assert (response.status, response.getheader("Connection")) == (200, None)
            response.read()
        assert isinstance(connection.sock, socket.socket)
        body = rows
    connection.close()


def test_a_small_body_is_read_before_its_answer(served: Process) -> None:
    with served.connect() as connection:
        connection.sendall(message("POST", "/books", BOOK))

        assert read_reply(connection, "POST").headers["Connection"] is None
