"""Imports into a process that serves: who is slow, who leaves, who sends too much."""

import json
import re
import resource
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path

import httpx
import pytest
from sqlalchemy.engine import URL

from songbook.server.protocol import LINGER_BYTES
from tests.support.databases import execute
from tests.support.marks import slow
from tests.support.raw_http import Reply, chunked, head, message, read_reply
from tests.support.served import POOL_SIZE, Process, on_linux, process
from tests.support.waiting import wait_until

pytestmark = pytest.mark.processes

CSV = "Content-Type: text/csv"
IN_CHUNKS = (CSV, "Transfer-Encoding: chunked")
LINE = 2048
MOST = 40 * 2**20
MAX_AT_ONCE = 32
HEADER = b"name,author\n"
ROW = b"a" * 150 + b",b\n"
LAST = b"0\r\n\r\n"
HALF = chunked(HEADER + ROW * 600).removesuffix(LAST)  # more than is read at once


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder for the temporary files of the process."""
    return tmp_path_factory.mktemp("spools")


@pytest.fixture(scope="module")
def running(server: URL, template: URL, folder: Path) -> Iterator[Process]:
    """Give a process that serves, with limits that are soon reached."""
    limits = {"IMPORT_LINE": str(LINE), "IMPORT_BYTES": str(MOST), "TMPDIR": str(folder)}
    with process(server, template, POOL_TIMEOUT="30", **limits) as found:
        yield found


@pytest.fixture
def served(running: Process, folder: Path) -> Iterator[Process]:
    """Give the process without books; it has to be left without temporary files."""
    execute(running.url, "TRUNCATE book RESTART IDENTITY")
    yield running
    assert list(folder.iterdir()) == []
    if sys.platform == "linux":
        wait_until(lambda: running.spools() == [])
    assert httpx.get(f"{running.address}/books?limit=1").status_code == 200


@contextmanager
def slow_clients(served: Process, number: int, part: bytes = HALF) -> Iterator[list[socket.socket]]:
    """Give connections on which a part of an import was sent, and arrived."""
    with ExitStack() as stack:
        clients = [stack.enter_context(served.connect()) for _ in range(number)]
        for client in clients:
            client.sendall(head("POST", "/books", *IN_CHUNKS) + part)
        wait_until(lambda: len(served.spools()) == 2 * number)
        if part == HALF:
            wait_until(lambda: len([size for size in served.spools() if size]) == number)
        yield clients


@on_linux
def test_slow_clients_hold_no_connection_and_keep_nobody_waiting(served: Process) -> None:
    with slow_clients(served, 2 * POOL_SIZE) as clients:
        begun = time.monotonic()
        for _ in range(10):
            assert served.ask(head("GET", "/books", "Connection: close")).status == 200
        took = time.monotonic() - begun
        busy, stored = served.busy(), served.books()
        for client in clients:
            client.sendall(chunked(ROW))
        replies = [read_reply(client, "POST") for client in clients]

    assert took < 15
    assert (busy, stored) == ([], 0)
    assert [reply.status for reply in replies] == [201] * len(clients)
    assert json.loads(replies[0].body)["stored"] == 601
    assert served.books() == 601 * len(clients)


@on_linux
@pytest.mark.parametrize("way", ["resets", "closes", "half-closes"])
def test_a_client_that_leaves_amid_a_body_leaves_nothing_behind(served: Process, way: str) -> None:
    with slow_clients(served, 3) as clients:
        for client in clients:
            if way == "resets":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if way == "half-closes":
                client.shutdown(socket.SHUT_WR)
                assert client.recv(1) == b""
            client.close()
        wait_until(lambda: served.spools() == [])

    assert served.books() == 0
    assert served.busy() == []


@on_linux
def test_a_client_may_send_so_many_at_once_and_others_as_many(served: Process) -> None:
    header = chunked(HEADER).removesuffix(LAST)
    request = head("POST", "/books", *IN_CHUNKS) + chunked(HEADER + ROW)
    with slow_clients(served, MAX_AT_ONCE, header) as clients:
        refused = served.ask(request)
        others = [
            served.ask(head("GET", "/books", "Connection: close")),
            served.ask(message("POST", "/books", '{"name":"a","author":"b"}')),
        ]
        with socket.create_connection(
            ("127.0.0.1", served.port), source_address=("127.0.0.2", 0)
        ) as stranger:
            stranger.sendall(request)
            others.append(read_reply(stranger))
        clients.pop().close()
        wait_until(lambda: len(served.spools()) == 2 * len(clients))
        stored = served.ask(request)

    assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
    assert "Too many imports and uploads" in json.loads(refused.body)["detail"]
    assert [reply.status for reply in others] == [200, 201, 201]
    assert stored.status == 201


def sent_until_refused(served: Process, *parts: bytes) -> tuple[int, Reply]:
    """Send the last part of a request again and again; return how many bytes, and the answer."""
    sent = 0
    *first, endless = parts
    with served.connect() as connection:
        with suppress(ConnectionError):
            connection.sendall(b"".join(first))
            while sent < 4 * MOST:
                connection.sendall(endless)
                sent += len(endless)
        reply = read_reply(connection, "POST")
        with suppress(ConnectionError):
            assert connection.recv(1) == b"", "the connection is not closed"
    return sent, reply


def assert_too_large(reply: Reply, detail: str) -> None:
    """Assert that what is too large is refused, and the connection not used again."""
    assert (reply.status, reply.headers["Connection"]) == (413, "close")
    assert re.fullmatch(detail, json.loads(reply.body)["detail"])


def test_a_body_that_is_declared_too_large_is_refused_unread(served: Process) -> None:
    for length in (MOST + 1, 10**12, 10**18):
        with served.connect() as connection:
            connection.sendall(head("POST", "/books", CSV, f"Content-Length: {length}"))
            reply = read_reply(connection, "POST")

        assert_too_large(reply, f"The body is larger than {MOST} bytes.")


def test_a_body_without_an_end_is_cut_off(served: Process) -> None:
    start = chunked(HEADER).removesuffix(LAST)
    rows = chunked((b" " * 2000 + b"a,b\n") * 400, 10**6).removesuffix(LAST)

    sent, reply = sent_until_refused(served, head("POST", "/books", *IN_CHUNKS), start, rows)

    assert_too_large(reply, f"The body is larger than {MOST} bytes.")
    assert sent < 2 * MOST
    assert served.books() == 0


@pytest.mark.parametrize(
    ("quote", "row"), [(b"", b"a" * 9999), (b'"', b"a\n" * 4999), (b'"', b'""' * 5000)]
)
def test_a_row_without_an_end_is_cut_off(served: Process, quote: bytes, row: bytes) -> None:
    start = chunked(HEADER + b"a,b\n" + quote).removesuffix(LAST)
    endless = chunked(row, 10**6).removesuffix(LAST)

    sent, reply = sent_until_refused(served, head("POST", "/books", *IN_CHUNKS), start, endless)

    assert_too_large(reply, f"Line 3 is longer than {LINE} characters.")
    assert sent < 8 * 2**20 + LINGER_BYTES
    assert served.books() == 0


@pytest.mark.parametrize(
    ("target", "headers", "status"),
    [
        ("/books", ("Content-Type: text/plain",), 415),
        ("/books", ("Content-Type: text/csv; header=absent",), 415),
        ("/books", (CSV, "Content-Encoding: gzip"), 415),
        ("/books", (CSV, "Idempotency-Key: ä"), 400),
        ("/books?on_eror=skip", (CSV,), 422),
        ("/members", (CSV,), 401),
    ],
)
def test_who_waits_for_a_hundred_is_refused_without_one(
    served: Process, target: str, headers: tuple[str, ...], status: int
) -> None:
    lines = (*headers, "Content-Length: 20000000", "Expect: 100-continue")
    with served.connect() as connection:
        connection.sendall(head("POST", target, *lines))
        reply = read_reply(connection, "POST")

    assert reply.status == status


def test_who_gets_a_hundred_may_still_be_refused_for_the_columns(served: Process) -> None:
    lines = (CSV, "Content-Length: 20000000", "Expect: 100-continue")
    with served.connect() as connection:
        connection.sendall(head("POST", "/books", *lines))
        assert connection.recv(65536).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"nmae,author\n" + ROW * 1000)
        reply = read_reply(connection, "POST")

    assert reply.status == 422
    assert json.loads(reply.body)["errors"][0]["pointer"] == "/nmae"


@pytest.fixture(scope="module")
def large_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a file of 20 MB whose columns do not fit."""
    path = tmp_path_factory.mktemp("large") / "books.csv"
    path.write_bytes(b"nmae,author\n" + ROW * 130_000)
    return path


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")
@pytest.mark.parametrize("options", [["--data-binary"], ["-H", "Expect:", "--data-binary"]])
def test_curl_is_told_early_what_is_wrong_with_a_large_file(
    served: Process, large_file: Path, options: list[str]
) -> None:
    asked = ["curl", "-sS", "-w", "\n%{http_code}", "-H", CSV, *options, f"@{large_file}"]
    done = subprocess.run(
        [*asked, f"{served.address}/books"], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
    body, _, status = done.stdout.rpartition("\n")
    assert status == "422"
    assert json.loads(body)["errors"][0]["pointer"] == "/nmae"


def test_httpx_is_told_early_what_is_wrong_with_a_large_file(
    served: Process, large_file: Path
) -> None:
    with httpx.Client(base_url=served.address, headers={"Content-Type": "text/csv"}) as client:
        whole = client.post("/books", content=large_file.read_bytes())
        with large_file.open("rb") as file:
            streamed = client.post("/books", content=file)
        again = client.get("/ping")

    for answer in (whole, streamed):
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == "/nmae"
    assert again.status_code == 200


def latencies(served: Process, sender: "Future[Reply]") -> Iterator[tuple[float, int]]:
    """Give how long answers of /ping take, and how much memory there is, while rows are sent."""
    connection = HTTPConnection("127.0.0.1", served.port, timeout=40)
    while not sender.done():
        begun = time.monotonic()
        connection.request("GET", "/ping")
        assert connection.getresponse().read()
        yield time.monotonic() - begun, served.memory()
        time.sleep(0.002)
    connection.close()


@slow
@on_linux
def test_a_large_import_takes_little_memory_and_lets_others_through(served: Process) -> None:
    served.ask(head("POST", "/books", *IN_CHUNKS) + HALF + LAST)  # what all imports share
    content = chunked(HEADER + b"".join(b"%0150d,b\n" % number for number in range(200_000)))
    before = served.memory()

    with ThreadPoolExecutor(1) as pool:
        request = head("POST", "/books?dry_run=true", *IN_CHUNKS) + content
        sender = pool.submit(served.ask, request)
        measured = list(latencies(served, sender))
    reply = sender.result()

    took, memory = zip(*measured, strict=True)
    assert (reply.status, json.loads(reply.body)["stored"]) == (200, 200_000)
    print(f"{len(took)} pings, the slowest {max(took):.3f} s, {max(memory) - before} KB more")
    assert max(memory) - before < 20_000
    assert len(took) > 20
    assert sorted(took)[int(len(took) * 0.99)] < 0.1


@on_linux
def test_a_file_that_may_not_grow_is_told_as_a_full_disk(served: Process) -> None:
    soft, hard = resource.prlimit(served.pid, resource.RLIMIT_FSIZE)
    request = head("POST", "/books", *IN_CHUNKS) + chunked(HEADER + ROW * 3000)
    resource.prlimit(served.pid, resource.RLIMIT_FSIZE, (65536, hard))
    try:
        refused = served.ask(request)
    finally:
        resource.prlimit(served.pid, resource.RLIMIT_FSIZE, (soft, hard))

    assert refused.status == 507
    assert served.books() == 0
    assert served.ask(request).status == 201


def test_a_body_in_chunks_of_any_size_is_the_same_text(served: Process) -> None:
    rows = 'name,author\r\n"a\nb",é\r\n,c\r\n🎸,"d ""e"""\r\n'.encode()
    for size in (1, 2, 5, len(rows)):
        request = head("POST", "/books?on_error=skip", *IN_CHUNKS) + chunked(rows, size)
        with served.connect() as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for at in range(0, len(request), 3):
                connection.sendall(request[at : at + 3])
            reply = read_reply(connection, "POST")

        report = json.loads(reply.body)
        assert (reply.status, report["stored"], report["refused"]) == (201, 2, 1)
        assert report["refusals"][0]["line"] == 4
    assert execute(served.url, "SELECT DISTINCT name, author FROM book ORDER BY name") == [
        ("a\nb", "é"),
        ("🎸", 'd "e"'),
    ]
