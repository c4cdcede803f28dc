"""What is refused before it is a request, byte for byte, by a process that serves."""

import json
import re
import socket
from collections.abc import Iterator
from http.client import HTTPResponse
from typing import NamedTuple

import pytest
from sqlalchemy.engine import URL

from songbook.server.framing import FRAMING_LIMIT, HEAD_LIMIT
from tests.support.raw_http import chunked, head, message, read_reply
from tests.support.served import Process, process

pytestmark = pytest.mark.processes

BOOK = b'{"name":"a","author":"b"}'
CHUNKED = "Transfer-Encoding: chunked"
POST = head("POST", "/books", "Content-Type: application/json", CHUNKED)
MB = 1_000_000


@pytest.fixture(scope="module")
def served(server: URL, template: URL) -> Iterator[Process]:
    """Give a process that serves."""
    with process(server, template) as found:
        yield found


class Case(NamedTuple):
    """What is written to a connection, and the status that answers it."""

    name: str
    request: bytes
    status: int


def hosts() -> Iterator[Case]:
    """Give Host lines (RFC 9112, section 3.2)."""
    good = ["a", "a_b.example.", "localhost:8004", "127.0.0.1:80", "[::1]:80", "[fe80::1]", "a:"]
    bad = ["", "a b", "a, b", "a/b", "u@a", "a:b", "a:123456", "[::1", "::1", "\xe9", "http://a"]
    for value in good:
        yield Case(f"Host {value}", f"GET /ping HTTP/1.1\r\nHost: {value}\r\n\r\n".encode(), 200)
    for value in bad:
        request = f"GET /ping HTTP/1.1\r\nHost: {value}\r\n\r\n".encode("latin-1")
        yield Case(f"Host {value!r}", request, 400)
    yield Case("no Host", b"GET /ping HTTP/1.1\r\n\r\n", 400)
    yield Case("no Host in HTTP/1.0", b"GET /ping HTTP/1.0\r\n\r\n", 200)
    yield Case("two Hosts", head("GET", "/ping", "Host: evil.example"), 400)
    yield Case("the same Host twice", head("GET", "/ping", "host: songbook"), 400)
    yield Case("two Accepts", head("GET", "/ping", "Accept: a/b", "Accept: */*"), 200)


def codings() -> Iterator[Case]:
    """Give bodies (RFC 9112, section 6) and what concerns them."""
    for value, status in [
        ("chunked", 201), ("CHUNKED ", 201), ("gzip", 501), ("identity", 501), ("xchunked", 501),
        ("gzip, chunked", 501), ("gzip\r\nTransfer-Encoding: chunked", 400), ("chunked, gzip", 400),
        ("chunked\r\nContent-Length: 5", 400),
    ]:  # fmt: skip
        lines = ("Content-Type: application/json", f"Transfer-Encoding: {value}")
        yield Case(f"coding {value!r}", head("POST", "/books", *lines) + chunked(BOOK), status)
    length = "Content-Length: 5"
    yield Case("length and chunks", head("POST", "/books", length, CHUNKED) + chunked(BOOK), 400)
    twice = message("POST", "/books", BOOK, "Content-Type: text/csv")
    yield Case("two Content-Types", twice, 400)
    upgrade = ("Connection: Upgrade", "Upgrade: h2c")
    yield Case("an upgrade", head("GET", "/ping", *upgrade), 200)
    yield Case("an upgrade with a body", message("POST", "/books", BOOK, *upgrade), 400)


def versions() -> Iterator[Case]:
    """Give versions of HTTP."""
    for version in ("0.9", "2.0", "3.0", "9.9"):
        request = f"GET /ping HTTP/{version}\r\nHost: a\r\n\r\n".encode()
        yield Case(f"HTTP/{version}", request, 505)
    yield Case("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505)
    yield Case("a line of HTTP/0.9", b"GET /ping\r\n", 505)


CASES = [*hosts(), *codings(), *versions()]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_head_is_answered_for_what_it_is(served: Process, case: Case) -> None:
    with served.connect() as connection:
        connection.sendall(case.request)
        reply = read_reply(connection)
        ended = reply.status < 400 or connection.recv(1) == b""

    assert (reply.status, ended) == (case.status, True)
    if reply.status >= 400:
        assert reply.headers["Content-Type"] == "application/problem+json"
        assert reply.headers["Connection"] == "close"
        assert json.loads(reply.body)["status"] == reply.status


@pytest.mark.parametrize("path", ["/books%2F1", "/books%2f1", "%2Fbooks", "/books/1%2f", "/%2F"])
def test_an_encoded_slash_separates_nothing(served: Process, path: str) -> None:
    assert served.ask(message("POST", "/books", BOOK)).status == 201

    assert served.ask(head("GET", "/books/1")).status == 200
    assert served.ask(head("GET", path if path[0] == "/" else f"/{path}")).status == 404


ENDLESS = {
    "URL": (b"GET /", b"x" * 4096),
    "header": (b"GET / HTTP/1.1\r\nX: ", b"x" * 4096),
    "headers": (b"GET / HTTP/1.1\r\n", b"X: y\r\n" * 700),
    "empty lines": (b"", b"\r\n" * 2048),
    "chunk extension": (POST + b"1;", b"x" * 4096),
    "chunk extensions": (POST, (b"1;" + b"x" * 500 + b"\r\n \r\n") * 8),
    "chunk size": (POST, b"0" * 4096),
    "trailer": (POST + b"0\r\nX: ", b"x" * 4096),
    "trailers": (POST + b"0\r\n", b"X: y\r\n" * 700),
}


def sent_before_the_end(connection: socket.socket, start: bytes, part: bytes, limit: int) -> int:
    """Return how many bytes were sent when the connection was cut, or the limit."""
    connection.sendall(start)
    sent = 0
    try:
        while sent < limit:
            connection.sendall(part)
            sent += len(part)
    except ConnectionError:
        return sent
    return limit


@pytest.mark.parametrize("kind", ENDLESS)
def test_what_is_neither_head_nor_body_ends(served: Process, kind: str) -> None:
    before = served.memory()
    with socket.socket() as connection:
        connection.settimeout(40)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        connection.connect(("127.0.0.1", served.port))
        sent = sent_before_the_end(connection, *ENDLESS[kind], 30 * MB)

        assert sent < 10 * MB
    assert served.memory() - before < 10_000


@pytest.mark.parametrize("size", [1, 60])
def test_a_body_may_come_in_small_chunks(served: Process, size: int) -> None:
    body = BOOK + b" " * (FRAMING_LIMIT - len(BOOK))

    assert served.ask(POST + chunked(body, size)).status == 201


def test_a_head_in_two_pieces_may_be_followed_by_a_body(served: Process) -> None:
    request = message("POST", "/books", BOOK + b" " * (HEAD_LIMIT - len(BOOK)), "X: y")
    with served.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(request[:20])
        assert served.ask(head("GET", "/ping")).status == 200  # it has come by now
        connection.sendall(request[20:])

        assert read_reply(connection, "POST").status == 201


def test_a_trailer_is_no_header(served: Process) -> None:
    last = b"0\r\nX-Request-ID: trailer\r\n\r\n"
    reply = served.ask(POST + chunked(BOOK).removesuffix(b"0\r\n\r\n") + last)

    assert reply.status == 201
    assert reply.headers["X-Request-ID"] != "trailer"


BAD = {
    "no HTTP": b"x\r\n\r\n",
    "no Host": b"GET /ping HTTP/1.1\r\n\r\n",
    "a head too large": head("GET", "/ping", "X: " + "x" * HEAD_LIMIT),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_request_does_not_overtake_the_one_before_it(served: Process, kind: str) -> None:
    with served.connect() as connection:
        connection.sendall(head("GET", "/books/0") + BAD[kind])
        answers = b"".join(iter(lambda: connection.recv(65536), b"")).decode()

    assert re.findall(r"HTTP/1.1 (\d+) ", answers) == ["404"]
    assert "connection: close\r\n" in answers


def test_requests_that_are_sent_at_once_are_all_answered(served: Process) -> None:
    number = 2000
    last = head("GET", "/books/0", "Connection: close")
    with served.connect() as connection:
        connection.sendall(head("GET", "/books/0") * number + last)
        answers = b"".join(iter(lambda: connection.recv(65536), b"")).decode()

    assert re.findall(r"HTTP/1.1 (\d+) ", answers) == ["404"] * (number + 1)
    assert answers.count("connection: close\r\n") == 1


def test_a_broken_body_is_answered_while_it_is_awaited(served: Process) -> None:
    with served.connect() as connection:
        connection.sendall(POST + b"1\r\n{\r\n")
        assert served.ask(head("GET", "/ping")).status == 200  # so that it is awaited
        connection.sendall(b"no size\r\n")
        response = HTTPResponse(connection, method="POST")
        response.begin()

        assert response.status == 400
