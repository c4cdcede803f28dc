"""Many connections: which are closed for others, and what responses that nobody reads may take."""

import resource
import socket
import struct
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from select import select

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.engine import URL

from songbook.server.limits import SPARE_FILES
from tests.support.databases import beside, execute, locked, spelled
from tests.support.marks import slow
from tests.support.processes import Service, ended_at_last
from tests.support.raw_http import head, message, read_reply
from tests.support.served import Process, on_linux, process
from tests.support.services import SAMPLES
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.processes, slow]

LAY_OUT = (
    "INSERT INTO book (name, author) SELECT 'n' || i || repeat('x', 200), repeat('y', 250)"
    " FROM generate_series(1, 1000) AS i"
)
HOLD = (
    """
    CREATE FUNCTION held(given text) RETURNS text LANGUAGE plpgsql AS $$
    BEGIN
        WHILE NOT pg_try_advisory_xact_lock_shared(4711) LOOP
            PERFORM pg_sleep(0.005);
        END LOOP;
        RETURN given;
    END
    $$
    """,
    "ALTER TABLE book RENAME TO stored",
    "CREATE VIEW book AS SELECT id, version, held(name) AS name, author, year FROM stored",
)
RELEASE = ("DROP VIEW book", "DROP FUNCTION held", "ALTER TABLE stored RENAME TO book")
PING = head("GET", "/ping")
BEGUN_BODY = head("POST", "/books", "Content-Type: application/json", "Content-Length: 99") + b"{"
BOOK = '{"name":"a","author":"b"}'
SILENT = 1100
CLIENTS = 30
PAGE = "/books?limit=1000"
MOST_KB = 16 * 1024
MOST_TAKEN = 16 * 2**20  # more than the buffers of the system hold


@pytest.fixture(autouse=True, scope="module")
def many_files() -> Iterator[None]:
    """Allow this process as many sockets as the tests open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * SILENT), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def served(server: URL, template: URL) -> Iterator[Process]:
    """Give a process that takes four connections."""
    with process(server, template, MAX_CONNECTIONS="4") as found:
        execute(found.url, LAY_OUT, "ANALYZE book")
        yield found


@pytest.fixture(scope="module")
def unread(server: URL, template: URL) -> Iterator[Process]:
    """Give a process that holds 1 MiB that is not read."""
    with process(server, template, UNREAD_BYTES=str(2**20)) as found:
        execute(found.url, LAY_OUT, "ANALYZE book")
        yield found


def open_connections(served: Process) -> int:
    """Return how many connections the process has not closed."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    port, listens, nobody = f":{served.port:04X}", "0A", "0"
    own = [row for row in rows if row[1].endswith(port)]
    return sum(row[3] != listens and row[9] != nobody for row in own)


def ask_and_do_not_read(served: Process, stack: ExitStack, times: int) -> None:
    """Ask for a long page again and again, on many connections."""
    for _ in range(CLIENTS):
        connection = stack.enter_context(socket.socket())
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", served.port))
        connection.setblocking(False)
        connection.send(head("GET", PAGE) * times)
    httpx.get(f"{served.address}/ping", timeout=20)  # by now all have been accepted


def is_closed(connection: socket.socket) -> bool:
    """Tell whether the process has closed a connection without an answer."""
    connection.settimeout(0.1)
    with suppress(TimeoutError, ConnectionResetError):
        return connection.recv(1, socket.MSG_PEEK) == b""
    return False


def test_room_is_made_by_closing_heads_then_bodies_then_kept_connections(served: Process) -> None:
    with ExitStack() as stack:

        def connect(request: bytes, *, answered: bool = False) -> socket.socket:
            connection = stack.enter_context(served.connect())
            connection.sendall(request)
            if answered:
                assert read_reply(connection).status == 200
            return connection

        kept = connect(PING, answered=True)
        body = connect(BEGUN_BODY)
        first, second = connect(PING[:-2]), connect(b"")
        order = [first, second, body, kept]
        for closed in range(1, 5):
            connect(PING, answered=True)
            assert [is_closed(each) for each in order] == [True] * closed + [False] * (4 - closed)


def test_bodies_that_nobody_waits_for_make_room(served: Process) -> None:
    with ExitStack() as stack:
        for _ in range(4):
            connection = stack.enter_context(served.connect())
            connection.sendall(head("GET", "/ping", "Content-Length: 9999999"))
            assert read_reply(connection).status == 200

        assert served.ask(PING).status == 200


@asynccontextmanager
async def held_reads(url: URL) -> AsyncIterator[None]:
    """Hold every read of a book until the block ends, without a lock, which is soon given up."""
    execute(url, *HOLD)
    try:
        async with beside(url) as holding:
            await holding.execute(text("SELECT pg_advisory_lock(4711)"))
            yield
    finally:
        execute(url, *RELEASE)


async def test_a_request_in_progress_is_not_closed_for_a_newcomer(served: Process) -> None:
    with ExitStack() as stack:
        async with held_reads(served.url):
            busy = [stack.enter_context(served.connect()) for _ in range(4)]
            for connection in busy:
                connection.sendall(head("GET", "/books/1"))
            wait_until(served.busy)
            newcomer = stack.enter_context(served.connect())
            with suppress(ConnectionResetError):
                assert newcomer.recv(1) == b""

        assert [read_reply(connection).status for connection in busy] == [200] * 4


async def test_requests_of_clients_that_have_gone_make_room(served: Process) -> None:
    async with locked(served.url, "book"):
        for _ in range(4):
            with served.connect() as connection:
                connection.sendall(head("GET", "/books/1"))
        wait_until(served.busy)

        assert served.ask(PING).status == 200


@on_linux
def test_more_silent_connections_than_files_shut_nobody_out(database_url: URL) -> None:
    limited = ("sh", "-c", 'ulimit -n 1024 && exec "$0" -m "$@"', sys.executable)
    environment = {"PORT": "0", "DATABASE_URL": spelled(database_url), "HEAD_SECONDS": "300"}
    service = Service(SAMPLES.package, "serve", program=limited, **environment)
    with ended_at_last(service), ExitStack() as stack:
        service.answers(service.said())
        served = Process(service, database_url)
        for _ in range(SILENT):
            stack.enter_context(served.connect())
        wait_until(lambda: open_connections(served) == 1024 - SPARE_FILES)

        assert httpx.get(f"{served.address}/books").status_code == 200


def test_clients_that_do_not_read_are_cut_when_they_hold_too_much(unread: Process) -> None:
    with ExitStack() as stack:
        ask_and_do_not_read(unread, stack, 20)
        wait_until(lambda: open_connections(unread) < CLIENTS // 2)

        assert httpx.get(f"{unread.address}/books/1").status_code == 200


@on_linux
def test_clients_that_do_not_read_take_little_memory(unread: Process) -> None:
    httpx.get(f"{unread.address}{PAGE}")
    before = unread.memory()
    with ExitStack() as stack:
        ask_and_do_not_read(unread, stack, 3000)
        wait_until(lambda: open_connections(unread) < CLIENTS // 2)
        more = unread.memory() - before

        assert httpx.get(f"{unread.address}/books/1").status_code == 200
    print(f"{more} KB more")
    assert more < 50_000


@on_linux
def test_a_connection_that_its_client_resets_leaves_no_memory(served: Process) -> None:
    def ask_and_reset(times: int) -> int:
        for _ in range(times):
            with served.connect() as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.sendall(PING)
                assert read_reply(connection).status == 200
        return served.memory()

    before = ask_and_reset(500)

    assert ask_and_reset(2000) - before < 8000  # KB; it was 16,000


def test_pipelined_requests_that_come_piece_by_piece_do_not_pile_up(unread: Process) -> None:
    request = head("GET", "/books/1")
    piece = request * (4096 // len(request))
    with unread.connect() as connection:
        connection.sendall(piece)
        before = unread.memory()
        for _ in range(400):
            assert connection.recv(2**16)
            connection.sendall(piece)
        assert unread.memory() - before < MOST_KB


def test_pipelined_bodies_are_read_no_faster_than_they_are_answered(unread: Process) -> None:
    bodies = message("POST", "/books", BOOK) * 10_000
    end, sent = time.monotonic() + 3, 0
    with unread.connect() as connection:
        connection.setblocking(False)
        while time.monotonic() < end and sent < MOST_TAKEN:
            readable, writable, _ = select([connection], [connection], [], 0.1)
            if readable:
                assert connection.recv(2**20)
            if writable:
                sent += connection.send(bodies[sent % len(bodies) :][: 2**18])
    assert sent < MOST_TAKEN
