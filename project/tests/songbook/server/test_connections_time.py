"""Clients that are too slow: with a head, with a body, and with reading what they asked for."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPResponse

import pytest
from sqlalchemy.engine import URL

from tests.support.databases import execute
from tests.support.marks import slow
from tests.support.raw_http import Reply, head, read_reply
from tests.support.served import Process, process
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.processes, slow]

ROWS = 120_000
LAY_OUT = (
    "INSERT INTO book (name, author) SELECT 'n' || i || repeat('x', 100), 'b'"
    f" FROM generate_series(1, {ROWS}) AS i"
)
COPIES = "SELECT pid FROM pg_stat_progress_copy WHERE datname = current_database()"
BOOK = json.dumps({"name": "a", "author": "b"}).encode()
POST = ("Content-Type: application/json", f"Content-Length: {len(BOOK)}")
IMPORT = ("Content-Type: text/csv", "Transfer-Encoding: chunked")
PING = head("GET", "/ping")


@pytest.fixture(scope="module")
def served(server: URL, template: URL) -> Iterator[Process]:
    """Give a process that waits for a few seconds at most, which a busy machine may need."""
    limits = {"HEAD_SECONDS": "3", "BODY_SECONDS": "3", "UNREAD_SECONDS": "4"}
    with process(server, template, **limits) as found:
        execute(found.url, LAY_OUT, "ANALYZE book")
        yield found


def assert_too_slow(reply: Reply) -> None:
    """Assert that a client is told that it was too slow."""
    assert reply.status == 408
    assert json.loads(reply.body)["type"] == "/problems/too-slow"
    assert reply.headers["connection"] == "close"


@pytest.mark.parametrize("before", [b"", b"\r\n"])
def test_a_connection_that_says_nothing_is_closed(served: Process, before: bytes) -> None:
    with served.connect() as connection:
        connection.sendall(before)

        assert connection.recv(1) == b""


@pytest.mark.parametrize("before", [b"", PING])
def test_a_head_that_does_not_end_is_408(served: Process, before: bytes) -> None:
    with served.connect() as connection:
        if before:
            connection.sendall(before)
            assert read_reply(connection).status == 200
        connection.sendall(PING[:-2])

        assert_too_slow(read_reply(connection))


def test_a_kept_connection_may_be_idle_for_longer_than_a_head_may_take(served: Process) -> None:
    with served.connect() as connection:
        connection.sendall(PING)
        assert read_reply(connection).status == 200
        time.sleep(4.5)
        connection.sendall(PING)

        assert read_reply(connection).status == 200


@pytest.mark.parametrize("drips", [False, True])
def test_a_body_that_hardly_comes_is_408(served: Process, *, drips: bool) -> None:
    books = served.books()
    with served.connect() as connection:
        connection.sendall(head("POST", "/books", *POST))
        connection.settimeout(0.2)
        for at in range(len(BOOK) - 1 if drips else 0):
            connection.sendall(BOOK[at : at + 1])
            try:
                assert connection.recv(1, socket.MSG_PEEK)
                break
            except TimeoutError:
                continue
        connection.settimeout(40)

        assert_too_slow(read_reply(connection))
    assert served.books() == books


def test_imports_that_drip_are_408_and_give_their_places_back(served: Process) -> None:
    drops = [served.connect() for _ in range(8)]
    for connection in drops:
        connection.sendall(head("POST", "/books", *IMPORT) + b"c\r\nname,author\n\r\n")
    for connection in drops:
        assert_too_slow(read_reply(connection))
        connection.close()

    request = head("POST", "/books", *IMPORT) + b"10\r\nname,author\na,b\n\r\n0\r\n\r\n"
    assert served.ask(request).status == 201


def test_a_body_that_comes_slowly_but_steadily_is_taken(served: Process) -> None:
    content = b'{"name": "a", "author": "b"' + b" " * 6000 + b"}"
    length = f"Content-Length: {len(content)}"
    with served.connect() as connection:
        connection.sendall(head("POST", "/books", "Content-Type: application/json", length))
        for at in range(0, len(content), 400):
            connection.sendall(content[at : at + 400])
            time.sleep(0.3)

        assert read_reply(connection).status == 201


@contextmanager
def exporting(served: Process) -> Iterator[HTTPResponse]:
    """Give the answer of a client that has read the first bytes of an export."""
    with socket.socket() as connection:
        connection.settimeout(40)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", served.port))
        connection.sendall(head("GET", "/books", "Accept: text/csv"))
        with closing(HTTPResponse(connection)) as answer:
            answer.begin()
            assert answer.read(10)
            yield answer


def test_an_export_that_is_not_read_is_cut_and_its_backend_ended(served: Process) -> None:
    with exporting(served):
        assert len(execute(served.url, COPIES)) == 1
        wait_until(lambda: execute(served.url, COPIES) == [] and served.busy() == [])

        with exporting(served) as other:
            assert other.read().count(b"\n") > ROWS


def test_an_export_that_is_read_slowly_but_steadily_is_whole(served: Process) -> None:
    books = served.books()
    with exporting(served) as answer:
        lines, begun = 0, time.monotonic()
        while time.monotonic() < begun + 10:
            lines += answer.read(8 * 1024).count(b"\n")
            time.sleep(0.1)
        assert len(execute(served.url, COPIES)) == 1
        lines += answer.read().count(b"\n")

    assert lines == books + 1
