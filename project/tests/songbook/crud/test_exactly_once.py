"""What is acknowledged is stored, and stored once: real processes, killed while they work."""

import asyncio
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from httpx import AsyncClient, Response
from sqlalchemy import text

from songbook.db import engine
from songbook.http import CSV
from tests.support.asserts import assert_problem, assert_unavailable
from tests.support.databases import beside, execute
from tests.support.faults import (
    COMMIT,
    FAREWELL,
    SESSION_COMMIT,
    Cluster,
    History,
    Phoenix,
    Proxy,
    Verdict,
    between,
)
from tests.support.marks import slow
from tests.support.services import SAMPLES
from tests.support.triggers import held_writes, holding_writes

pytestmark = pytest.mark.processes

LONG = os.environ.get("FAULT_TESTS") == "1"
CUTS = 2000 if LONG else 200
GROWTH = 1000 if LONG else 60
"""How many books are acknowledged between two faults, at least."""

CLEAN = Verdict([], [], [], [])
ROWS_OF_AN_IMPORT = 20

in_long_storms = pytest.mark.skipif(not LONG, reason="takes minutes: ask with FAULT_TESTS=1")

Work = Callable[[AsyncClient, History], Coroutine[Any, Any, None]]
Fault = Callable[[Cluster, Phoenix], None]


@pytest.fixture(scope="module")
def cluster(migrated_folder: Path) -> Iterator[Cluster]:
    """Give a durable PostgreSQL of these tests' own, which may be killed."""
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place).resolve() / "postgres"
        subprocess.run(["cp", "-Rp", str(migrated_folder), str(copy)], check=True)
        cluster = Cluster(copy.parent)
        yield cluster
        cluster.stop()


@pytest.fixture(scope="module")
def service(cluster: Cluster) -> Iterator[Phoenix]:
    """Give a service on it, which may be killed."""
    service = Phoenix(cluster.door_url)
    yield service
    service.end()


@pytest.fixture
async def client(cluster: Cluster, service: Phoenix) -> AsyncIterator[AsyncClient]:
    """Give a client of the service, whose tables are empty."""
    await asyncio.to_thread(execute, cluster.url, "TRUNCATE book, towns, novel, idempotency")
    async with AsyncClient(base_url=service.address, timeout=40) as client:
        yield client


async def attempt(client: AsyncClient, **request: Any) -> Response | None:
    """Send a request; return the answer if it says what became of it, None if not."""
    try:
        answer = await client.request(**request)
    except httpx.TransportError:
        return None
    if answer.status_code == 503 or "idempotency-key-in-use" in answer.text:
        return None
    assert answer.is_success, answer.text
    return answer


async def insist(client: AsyncClient, **request: Any) -> Response:
    """Send a request until an answer says what became of it."""
    pause = 0.01
    while True:
        if answer := await attempt(client, **request):
            return answer
        await asyncio.sleep(pause)
        pause = min(pause * 2, 0.3)


def book(name: str) -> dict[str, str]:
    """Return the body of a book."""
    return {"name": name, "author": "The Faults"}


def of_books(names: list[str]) -> dict[str, Any]:
    """Return the request that stores books under a key: one as JSON, several as CSV."""
    request: dict[str, Any] = {"method": "POST", "url": "/books"}
    keyed = {"Idempotency-Key": names[0]}
    if len(names) == 1:
        return request | {"json": book(names[0]), "headers": keyed}
    content = "name,author\n" + "".join(f"{name},The Faults\n" for name in names)
    return request | {"content": content, "headers": keyed | {"Content-Type": "text/csv"}}


async def store_and_read(client: AsyncClient, history: History) -> None:
    """Store a book, whatever it takes, and look whether it is there."""
    [name] = names = history.new()
    stored = await insist(client, **of_books(names))
    history.tell(names, stored.json()["id"])
    read = await attempt(client, method="GET", url=stored.headers["location"])
    assert read is None or read.json() == stored.json(), f"{name} is something else"


async def store_without_a_key(client: AsyncClient, history: History) -> None:
    """Store a book, or not: nobody knows when no answer comes."""
    [name] = names = history.new()
    if stored := await attempt(client, method="POST", url="/books", json=book(name)):
        history.tell(names, stored.json()["id"])
    else:
        await asyncio.sleep(0.05)


async def store_many(client: AsyncClient, history: History) -> None:
    """Store some books at once, whatever it takes."""
    names = history.new(ROWS_OF_AN_IMPORT)
    report = await insist(client, **of_books(names))
    assert report.json()["stored"] == len(names)
    history.tell(names)


MIXED: Sequence[Work] = (store_and_read,) * 16 + (store_without_a_key,) * 4 + (store_many,) * 4


@asynccontextmanager
async def load(client: AsyncClient, kinds: Sequence[Work] = MIXED) -> AsyncIterator[History]:
    """Let many clients write until the block ends; what they have begun they bring to its end."""
    history, is_over = History(), asyncio.Event()

    async def work(write: Work) -> None:
        while not is_over.is_set():
            await write(client, history)

    clients = [asyncio.create_task(work(kind)) for kind in kinds]
    try:
        yield history
        is_over.set()
        async with asyncio.timeout(40):
            await asyncio.gather(*clients)
    finally:
        for each in clients:
            each.cancel()


def rows_of(cluster: Cluster) -> list[tuple[int, str]]:
    """Return the ids and names of all books, as PostgreSQL tells them."""
    return [(row[0], row[1]) for row in execute(cluster.url, "SELECT id, name FROM book")]


async def listed(client: AsyncClient) -> list[tuple[int, str]]:
    """Return the ids and names of all books, as the service tells them."""
    rows: list[tuple[int, str]] = []
    url: str | None = "/books?limit=1000"
    while url:
        page = await client.get(url)
        rows += [(row["id"], row["name"]) for row in page.json()]
        url = page.links.get("next", {}).get("url")
    return rows


def end_backends(cluster: Cluster, _service: Phoenix) -> None:
    """End all connections of the service to PostgreSQL."""
    cluster.end_backends()


def kill_postgresql(cluster: Cluster, _service: Phoenix) -> None:
    """Kill PostgreSQL, and start it again."""
    cluster.kill()
    cluster.start()


def kill_service(_cluster: Cluster, service: Phoenix) -> None:
    """Kill the service, and start it again."""
    service.kill()
    service.start()


FAULTS = [end_backends, kill_postgresql, kill_service]


async def assert_exactly_once(
    cluster: Cluster, service: Phoenix, client: AsyncClient, faults: list[Fault]
) -> None:
    """Assert that under a load and these faults nothing is lost, doubled or made up."""
    async with load(client) as history:
        for fault in faults:
            await history.growth(GROWTH)
            await asyncio.to_thread(fault, cluster, service)
        await history.growth(GROWTH)

    rows = await asyncio.to_thread(rows_of, cluster)
    assert history.verdict(rows) == CLEAN
    assert sorted(await listed(client)) == sorted(rows)
    print(f"{len(history.told)} books were acknowledged, {len(rows)} are stored")


async def test_what_is_acknowledged_survives_whatever_is_killed_and_is_there_once(
    cluster: Cluster, service: Phoenix, client: AsyncClient
) -> None:
    await assert_exactly_once(cluster, service, client, FAULTS)


@in_long_storms
@pytest.mark.timeout(600)
@pytest.mark.parametrize("fault", FAULTS)
async def test_what_is_acknowledged_survives_the_same_again_and_again(
    cluster: Cluster, service: Phoenix, client: AsyncClient, fault: Fault
) -> None:
    await assert_exactly_once(cluster, service, client, [fault] * 20)


@in_long_storms
async def test_what_a_hasty_postgresql_acknowledges_and_loses_is_noticed(
    cluster: Cluster, client: AsyncClient
) -> None:
    hasty = ("synchronous_commit = off", "wal_writer_delay = '10s'")
    await asyncio.to_thread(execute, cluster.url, *(f"ALTER SYSTEM SET {name}" for name in hasty))
    try:
        await asyncio.to_thread(execute, cluster.url, "SELECT pg_reload_conf()")
        async with load(client, (store_without_a_key,) * 16) as history:
            await history.growth(GROWTH)
            await asyncio.to_thread(cluster.kill)
            await asyncio.to_thread(cluster.start)
            await history.growth(GROWTH)
    finally:
        cleared = ("ALTER SYSTEM RESET ALL", "SELECT pg_reload_conf()")
        await asyncio.to_thread(execute, cluster.url, *cleared)

    verdict = history.verdict(await asyncio.to_thread(rows_of, cluster))
    assert verdict.lost != []
    assert verdict.duplicate == verdict.phantom == []


@slow
@pytest.mark.timeout(600 if LONG else 240)
async def test_a_commit_whose_answer_is_lost_is_found_by_its_key(
    cluster: Cluster, client: AsyncClient
) -> None:
    history, turns = History(), asyncio.Semaphore(16)

    async def store_twice(names: list[str]) -> Response:
        """Store books twice under a key, and lose the first answer; return the second."""
        request = of_books(names)
        async with turns:
            lost = await client.request(**request)
            assert lost.status_code == 503, lost.text
            return await client.request(**request)

    async with between(cluster, cuts_after=COMMIT) as proxy:
        await asyncio.to_thread(cluster.end_backends)
        await insist(client, method="GET", url="/books")  # by now the service knows of the ends
        single = [history.new() for _ in range(CUTS)]
        many = [history.new(ROWS_OF_AN_IMPORT) for _ in range(CUTS // 20)]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(store_twice(names)) for names in single + many]
        assert proxy.cuts == len(tasks)
        await asyncio.to_thread(cluster.end_backends)

    for names, answer in zip(single + many, [task.result() for task in tasks], strict=True):
        assert answer.status_code == 201, answer.text
        assert answer.headers["idempotency-replayed"] == "true"
        history.tell(names, answer.json().get("id"))
    assert history.asked == set(history.told)
    assert history.verdict(rows_of(cluster)) == CLEAN


async def test_a_process_that_dies_before_it_commits_leaves_nothing_and_the_next_one_stores(
    cluster: Cluster, service: Phoenix, client: AsyncClient
) -> None:
    requests = [of_books(["one"]), of_books(["two", "three"])]
    async with beside(cluster.url) as other:
        async with holding_writes(cluster.url) as holding:
            sent = [asyncio.create_task(attempt(client, **request)) for request in requests]
            await held_writes(holding, len(requests))
            await asyncio.to_thread(service.kill)
            assert await asyncio.gather(*sent) == [None, None]
            assert await other.scalar(text("SELECT count(*) FROM book")) == 0
        await asyncio.to_thread(service.start)
        for request in requests:
            answer = await insist(client, **request)
            assert answer.status_code == 201
            assert "idempotency-replayed" not in answer.headers
        await other.execute(text("DROP FUNCTION refuse CASCADE"))

    assert sorted(name for _, name in rows_of(cluster)) == ["one", "three", "two"]


async def test_what_is_created_is_seen_at_once_by_another_process(
    cluster: Cluster, client: AsyncClient
) -> None:
    history = History()
    async with SAMPLES.on(cluster.url) as (other, _):

        async def store_and_see(names: list[str]) -> None:
            """Store books through one process, and see them through the other."""
            stored = await client.request(**of_books(names))
            assert stored.status_code == 201, stored.text
            if len(names) == 1:
                seen = await other.get(stored.headers["location"])
                assert (seen.status_code, seen.json()) == (200, stored.json())
                assert seen.headers["etag"] == stored.headers["etag"]
            for name in names[-1:]:
                assert len((await other.get("/books", params={"name": name})).json()) == 1

        async with asyncio.TaskGroup() as tasks:
            for nth in range(100):
                names = history.new(ROWS_OF_AN_IMPORT if nth % 10 == 0 else 1)
                tasks.create_task(store_and_see(names))


async def test_the_last_words_of_postgresql_are_no_bug(cluster: Cluster) -> None:
    async with between(cluster) as proxy, SAMPLES.on(cluster.door_url, pool_size=1) as (here, _):
        for turns in range(20):
            assert (await here.get("/books")).status_code in {200, 503}
            proxy.say(FAREWELL)
            for _ in range(turns):
                await asyncio.sleep(0)
            answer = await here.post("/books", json=book("last words"))
            assert answer.status_code in {201, 503}, answer.text


MARK = "where the connection is cut"
MARKED = book(MARK)
KEYED = {"Idempotency-Key": "k"}
ROWS: dict[str, Any] = {"content": f"name,author\n{MARK},b\n", "headers": {"Content-Type": CSV}}
UNREPEATABLE: list[tuple[str, bytes, dict[str, Any]]] = [
    ("POST /books", MARK.encode(), {"json": MARKED}),
    ("PATCH /books/1", MARK.encode(), {"json": MARKED}),
    ("POST /by-session", SESSION_COMMIT, {"json": MARKED}),
    ("POST /books", COMMIT, ROWS),
]
"""Requests without a key, and the message that commits them."""

DEFINITE: list[tuple[str, bytes, dict[str, Any]]] = [
    ("PUT /books/1", MARK.encode(), {"json": MARKED}),
    ("POST /books", COMMIT, {"json": MARKED, "headers": KEYED}),
    ("POST /by-session", SESSION_COMMIT, {"json": MARKED, "headers": KEYED}),
    ("POST /books", COMMIT, {**ROWS, "headers": {"Content-Type": CSV} | KEYED}),
    ("POST /by-session", MARK.encode(), {"json": MARKED}),
    ("POST /books", b"BEGIN", ROWS),
    ("POST /books?dry_run=true", MARK.encode(), {"json": MARKED}),
]
"""Requests that can be repeated, and those that are cut before their COMMIT."""


@pytest.fixture
def empty(cluster: Cluster) -> None:
    """Empty the tables."""
    execute(cluster.url, "TRUNCATE book, idempotency RESTART IDENTITY")


@asynccontextmanager
async def proxied(cluster: Cluster, mark: bytes) -> AsyncIterator[tuple[AsyncClient, Proxy]]:
    """Give a service, with one book, whose connections are cut after `mark`."""
    async with between(cluster) as proxy, SAMPLES.on(cluster.door_url, pool_size=1) as (here, _):
        assert (await here.post("/books", json=book("first"))).status_code == 201
        proxy.cuts_after = mark
        yield here, proxy


async def stored_marks(cluster: Cluster) -> int:
    """Return how many books have the mark for a name, when all transactions have ended."""
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'songbook'"
        " AND state <> 'idle'"
    )
    while (await asyncio.to_thread(execute, cluster.url, query))[0][0]:
        pass
    return [name for _, name in await asyncio.to_thread(rows_of, cluster)].count(MARK)


@pytest.mark.usefixtures("empty")
@pytest.mark.parametrize(("target", "mark", "request_"), UNREPEATABLE)
async def test_a_client_without_a_key_is_told_that_a_write_without_answer_may_be_stored(
    cluster: Cluster, target: str, mark: bytes, request_: dict[str, Any]
) -> None:
    method, path = target.split()
    async with proxied(cluster, mark) as (here, proxy):
        for nth in (1, 2):  # before the answer, and when it is there
            answer = await here.request(method, path, **request_)

            problem = assert_problem(answer, 503, "outcome-unknown")
            assert "Idempotency-Key" in problem["detail"]
            assert "retry-after" not in answer.headers
            assert proxy.cuts == nth
    assert await stored_marks(cluster) == (1 if method == "PATCH" else 2)


@pytest.mark.usefixtures("empty")
@pytest.mark.parametrize(("target", "mark", "request_"), DEFINITE)
async def test_what_can_be_repeated_or_was_not_committed_is_to_be_sent_again(
    cluster: Cluster, target: str, mark: bytes, request_: dict[str, Any]
) -> None:
    method, path = target.split()
    async with proxied(cluster, mark) as (here, proxy):
        assert_unavailable(await here.request(method, path, **request_))
        assert proxy.cuts == 1
    assert await stored_marks(cluster) == (mark in {COMMIT, SESSION_COMMIT} or method == "PUT")


@pytest.mark.usefixtures("empty")
@pytest.mark.parametrize("path", ["/books", "/by-session"])
@pytest.mark.parametrize("end", ["pg_terminate_backend", "pg_cancel_backend"])
async def test_an_error_that_postgresql_reported_is_definite(
    cluster: Cluster, path: str, end: str
) -> None:
    async with SAMPLES.on(cluster.url) as (here, _), beside(cluster.url) as other:
        async with holding_writes(cluster.url) as holding:
            sent = asyncio.create_task(here.post(path, json=MARKED))
            [pid] = await held_writes(holding)
            await other.execute(text(f"SELECT {end}({pid})"))
            answer = await sent
        await other.execute(text("DROP FUNCTION refuse CASCADE"))

    assert_unavailable(answer)
    assert await stored_marks(cluster) == 0


async def test_a_write_that_takes_longer_than_the_driver_waits_may_be_stored(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_COMMAND_SECONDS", 0.2)
    async with SAMPLES.on(cluster.url, pool_size=1) as (here, _), beside(cluster.url) as other:
        while (await here.get("/books")).status_code != 200:  # to set up a connection takes longer
            pass
        async with holding_writes(cluster.url):
            unknown = await here.post("/books", json=MARKED)
            definite = await here.post("/by-session", json=MARKED)
        await other.execute(text("DROP FUNCTION refuse CASCADE"))

    assert_problem(unknown, 503, "outcome-unknown")
    assert_unavailable(definite)


def test_a_history_that_does_not_agree_with_what_is_stored_is_seen() -> None:
    history = History()
    a, b, c, d = history.new(4)
    for nth, name in enumerate((a, b, c), 1):
        history.tell([name], nth)

    agreeing = [(1, a), (2, b), (3, c)]
    assert history.verdict(agreeing) == history.verdict([*agreeing, (4, d)]) == CLEAN
    assert history.verdict(agreeing[1:]) == CLEAN._replace(lost=[a])
    assert history.verdict([*agreeing, (4, a)]).duplicate == [a]
    assert history.verdict([*agreeing, (4, "e")]) == CLEAN._replace(phantom=["e"])
    assert history.verdict([(1, a), (3, b), (2, c)]) == CLEAN._replace(wrong_id=[b, c])
