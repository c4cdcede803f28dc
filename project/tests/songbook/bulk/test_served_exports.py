"""Exports out of a process that serves: who reads slowly, who leaves, and what fails amid them."""

import asyncio
import signal
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from http.client import HTTPResponse, IncompleteRead
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.engine import URL
from starlette.types import Message

from tests.samples.main import create_app
from tests.samples.settings import Settings
from tests.support.databases import beside, execute, spelled
from tests.support.marks import slow
from tests.support.raw_http import head, read_reply
from tests.support.served import POOL_SIZE, Process, on_linux, process
from tests.support.services import SAMPLES
from tests.support.waiting import wait_until

pytestmark = pytest.mark.processes

CSV, NDJSON = "Accept: text/csv", "Accept: application/x-ndjson"
RESET = struct.pack("ii", 1, 0)
AT_ONCE = POOL_SIZE // 2 - 2
ROWS = 120_000
# Far more than the buffers between a process and a slow client hold.
LAY_OUT = (
    "INSERT INTO book (name, author) SELECT 'n' || i || repeat('x', 100), 'b'"
    f" FROM generate_series(1, {ROWS}) AS i"
)
COPIES = "SELECT tuples_processed FROM pg_stat_progress_copy WHERE datname = current_database()"
OPEN = (
    "SELECT query FROM pg_stat_activity WHERE datname = current_database()"
    " AND application_name = 'songbook' AND state LIKE 'idle in transaction%'"
)
TERMINATE = (
    "SELECT pg_terminate_backend(pid, 20000) FROM pg_stat_progress_copy"
    " WHERE datname = current_database()"
)


@pytest.fixture(scope="module")
def running(server: URL, template: URL) -> Iterator[Process]:
    """Give a process that serves many books."""
    with process(server, template, POOL_TIMEOUT="2") as found:
        execute(found.url, LAY_OUT, "ANALYZE book")  # which tells that nothing has to be sorted
        yield found


@pytest.fixture
def served(running: Process) -> Iterator[Process]:
    """Give the process; nothing may be left under way."""
    yield running
    wait_until(lambda: copies(running) == [] and running.busy() == [])


@contextmanager
def exporting(
    served: Process, *headers: str, target: str = "/books", client: str = "127.0.0.1"
) -> Iterator[HTTPResponse]:
    """Give the answer of a slow client who has read the first bytes of an export."""
    with socket.socket() as connection:
        connection.settimeout(40)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.bind((client, 0))
        connection.connect(("127.0.0.1", served.port))
        connection.sendall(head("GET", target, *(headers or (CSV,))))
        with closing(HTTPResponse(connection)) as answer:
            answer.begin()
            assert answer.status == 200
            assert answer.read(10)
            yield answer


def copies(served: Process) -> list[int]:
    """Return of each COPY that is under way how many rows it has read."""
    return [rows for (rows,) in execute(served.url, COPIES)]


def copying(served: Process) -> set[int]:
    """Return the backends of the COPYs that are under way."""
    query = "SELECT pid FROM pg_stat_progress_copy WHERE datname = current_database()"
    return {pid for (pid,) in execute(served.url, query)}


def has_others(served: Process, before: set[int]) -> bool:
    """Tell whether a COPY of another backend is under way."""
    return bool(copying(served) - before)


def assert_whole(served: Process) -> None:
    """Assert that nothing is under way any more, and that exports have their turns again."""
    wait_until(lambda: copies(served) == [] and served.busy() == [])
    for _ in range(AT_ONCE + 1):
        answer = httpx.get(f"{served.address}/books?limit=3", headers={"Accept": "text/csv"})
        assert (answer.status_code, answer.text.count("\n")) == (200, 4)


@pytest.mark.parametrize("accept", [CSV, NDJSON])
def test_the_first_rows_come_long_before_the_last_is_read(served: Process, accept: str) -> None:
    number = served.books()
    with exporting(served, accept) as answer:
        [under_way] = copies(served)
        rest = answer.read()

    assert under_way < number
    assert rest.count(b"\n") == number + (accept == CSV)
    assert rest.endswith(b"\n")


@on_linux
def test_an_export_takes_little_memory_however_large_it_is(served: Process) -> None:
    with exporting(served) as answer:
        answer.read()
    before, most, size = served.memory(), 0, 0

    with exporting(served) as slow, exporting(served, NDJSON, client="127.0.0.2") as fast:
        while piece := fast.read(2**20):
            size += len(piece)
            most = max(most, served.memory())
        assert slow.read(10)

    print(f"{most - before} KB more for {size // 1024} KB")
    assert size > 15 * 2**20
    assert most - before < 8_000


def test_an_export_is_of_one_moment_whatever_happens_meanwhile(served: Process) -> None:
    [(last,)] = execute(served.url, "SELECT max(id) FROM book")
    with exporting(served) as answer:
        execute(
            served.url,
            f"UPDATE book SET name = 'changed' WHERE id > {last - 2000}",
            f"DELETE FROM book WHERE id > {last - 1000}",
            "INSERT INTO book (name, author) VALUES ('new', 'b')",
        )
        assert len(copies(served)) == 1
        rows = answer.read().splitlines()[1:]

    numbers = [int(row.partition(b",")[0]) for row in rows[1:]]
    assert numbers == list(range(numbers[0], last + 1))
    assert numbers[0] <= 3
    assert not [row for row in rows if b"new" in row or b"changed" in row]
    later = httpx.get(f"{served.address}/books?sort=-id&limit=2", headers={"Accept": "text/csv"})
    assert [row.split(",")[1] for row in later.text.splitlines()[1:]] == ["new", "changed"]


@pytest.fixture
def slowly_read(served: Process) -> Iterator[Process]:
    """Give the process while each of its books takes PostgreSQL a millisecond: minutes for all."""
    execute(
        served.url,
        "CREATE FUNCTION slow(given text) RETURNS text STABLE LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(0.001); RETURN given; END $$",
        "ALTER TABLE book RENAME TO stored",
        "CREATE VIEW book AS SELECT id, version, slow(name) AS name, author, year FROM stored",
    )
    yield served
    execute(served.url, TERMINATE)
    execute(served.url, "DROP VIEW book", "ALTER TABLE stored RENAME TO book", "DROP FUNCTION slow")


def test_a_client_that_leaves_ends_the_export(slowly_read: Process) -> None:
    for way in ("resets", "closes", "resets"):
        with exporting(slowly_read) as answer:
            assert len(copies(slowly_read)) == 1
            if way == "resets":
                connection = socket.socket(fileno=socket.dup(answer.fileno()))
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                connection.close()
        wait_until(lambda: copies(slowly_read) == [])
    assert_whole(slowly_read)


def test_exports_that_were_left_never_have_more_backends_than_places(slowly_read: Process) -> None:
    for _ in range(12):
        before = copying(slowly_read)
        assert len(before) <= AT_ONCE
        with slowly_read.connect() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            connection.sendall(head("GET", "/books?name_contains=nowhere", CSV))
            wait_until(partial(has_others, slowly_read, before))
            assert len(copying(slowly_read)) <= AT_ONCE
    wait_until(lambda: copies(slowly_read) == [])
    assert_whole(slowly_read)


@slow
def test_a_service_that_is_killed_leaves_no_export_behind(slowly_read: Process) -> None:
    with SAMPLES.serving(DATABASE_URL=spelled(slowly_read.url)) as service:
        port = int(service.address.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), 20) as connection:
            connection.sendall(head("GET", "/books?name_contains=nowhere", CSV))
            wait_until(lambda: copying(slowly_read))
            service.end(signal.SIGKILL)
            wait_until(lambda: not copying(slowly_read))


def test_who_has_nothing_more_to_say_gets_the_whole_export(served: Process) -> None:
    number = served.books()
    with served.connect() as connection:
        connection.sendall(head("GET", "/books", NDJSON))
        connection.shutdown(socket.SHUT_WR)
        reply = read_reply(connection)

    assert reply.status == 200
    assert reply.body.count(b"\n") == number


def test_a_failure_amid_an_export_is_no_tidy_end(served: Process) -> None:
    with exporting(served) as answer:
        assert execute(served.url, TERMINATE) == [(True,)]
        with pytest.raises(IncompleteRead):
            answer.read()

    with httpx.stream("GET", f"{served.address}/books", headers={"Accept": "text/csv"}) as stream:
        pieces = stream.iter_bytes(1000)
        assert next(pieces)
        assert execute(served.url, TERMINATE) == [(True,)]
        with pytest.raises(httpx.RemoteProtocolError):
            list(pieces)

    assert_whole(served)


@slow
@on_linux
def test_slow_readers_leave_connections_for_everybody_else(served: Process) -> None:
    book = {"name": "a", "author": "b"}
    with exporting(served) as first, exporting(served, NDJSON, client="127.0.0.2"):
        assert len(copies(served)) == AT_ONCE
        begun = time.monotonic()
        refused = httpx.get(f"{served.address}/books", headers={"Accept": "text/csv"})
        waited = time.monotonic() - begun
        head_of_one = httpx.head(f"{served.address}/books", headers={"Accept": "text/csv"})
        page = httpx.get(f"{served.address}/books?limit=1")
        created = httpx.post(f"{served.address}/books", json=book)
        assert first.read(10)

    assert refused.status_code == 503
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.headers["retry-after"] == "1"
    assert "exports" in refused.json()["detail"]
    assert 1.9 < waited < 20
    assert [head_of_one.status_code, page.status_code, created.status_code] == [200, 200, 201]
    assert_whole(served)


@slow
async def test_a_reader_who_takes_too_long_is_left(database_url: URL) -> None:
    execute(database_url, "DELETE FROM book", LAY_OUT.replace(f"{ROWS}", "3000"))
    app = create_app(Settings(database_url=spelled(database_url), bulk_seconds=1))
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)
        if len(sent) > 2:
            await asyncio.Event().wait()

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": "/books",
        "query_string": b"",
        "headers": [(b"accept", b"text/csv")],
    }
    async with (
        app.router.lifespan_context(app),
        beside(database_url) as connection,
        asyncio.timeout(40),
    ):
        await app(scope, receive, send)
        pool = app.state.service.database.engine.sync_engine.pool
        while (await connection.execute(text(OPEN))).all() or pool.checkedout():
            pass

    assert [message["type"].rpartition(".")[2] for message in sent] == ["start", "body", "body"]
    assert all(message["more_body"] for message in sent[1:])
    assert execute(database_url, "DELETE FROM book", COPIES) == []
