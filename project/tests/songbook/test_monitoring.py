"""/metrics: what is counted, who may read it, and that several processes are one."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest
from httpx import AsyncClient
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy.engine import URL

from songbook.config import CommandError
from songbook.db import Use
from songbook.metrics import read_snapshots
from tests.support.asserts import assert_problem
from tests.support.databases import execute, spelled
from tests.support.faults import children_of
from tests.support.marks import slow
from tests.support.processes import free_port
from tests.support.services import SAMPLES
from tests.support.waiting import wait_until

TOKEN = "hmS0xGkqvB2uYt8rWc5LZp1aQ7dNf3Je"
COUNT = "songbook_http_request_duration_seconds_count"


def read(text: str, name: str, **labels: str) -> float:
    """Return the sum of the samples of this name with these labels.

    The others are not parsed: behind thousands of tests that takes a second, in which nothing runs.
    """
    lines = "\n".join(line for line in text.splitlines() if line.startswith(name))
    return sum(
        sample.value
        for family in text_string_to_metric_families(lines)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


async def metrics(client: AsyncClient) -> str:
    """Return what Prometheus would read."""
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert answer.headers["cache-control"] == "no-store"
    return answer.text


async def test_requests_are_counted_by_route_method_and_status(migrated_url: URL) -> None:
    async with SAMPLES.on(migrated_url) as (client, _):
        before = await metrics(client)
        for path in ("/books/1", "/books/2", "/books?name=x", "/nowhere", "/books/x", "/books.csv"):
            await client.get(path)
        await client.post("/books", json={"name": "a", "author": "b"})
        await client.request("BREW", "/books")
        after = await metrics(client)

    def difference(**labels: str) -> float:
        return read(after, COUNT, **labels) - read(before, COUNT, **labels)

    assert difference(route="/books/{id}", method="GET", status="404") == 2
    assert difference(route="/books/{id}", method="GET", status="422") == 1
    assert difference(route="/books", method="GET", status="200") == 1
    assert difference(route="/books", method="POST", status="201") == 1
    assert difference(route="/books.csv", method="GET", status="200") == 1
    assert difference(route="/books", method="other", status="405") == 1
    assert difference(route="", status="404") == 1
    assert difference() == 9  # with the first /metrics


async def test_what_waits_for_a_connection_is_seen(
    migrated_url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with SAMPLES.on(migrated_url, pool_size=4) as (client, database):
        async with database.connection(Use.LIST):  # the only place of lists
            late = [asyncio.create_task(client.get(f"/books?limit={n}")) for n in (1, 2)]
            for _ in range(100):  # iterations of the loop until they wait
                await asyncio.sleep(0)
            busy = await metrics(client)
            monkeypatch.setattr(database.pool, "_timeout", 0.1)
            for n in (3, 4):
                assert_problem(await client.get(f"/books?limit={n}"), 503)
            after = await metrics(client)
        assert [(await each).status_code for each in late] == [200, 200]

    assert 'songbook_problems_total{type="outcome-unknown"} ' in busy  # 0 until the first one
    assert read(busy, "songbook_pool_size") == 4
    assert read(busy, "songbook_pool_in_use") == 1
    assert read(busy, "songbook_pool_waiting", use="list") == 2
    timeouts = "songbook_pool_wait_timeouts_total"
    assert read(after, timeouts) - read(busy, timeouts) == 2
    problems = "songbook_problems_total"
    assert read(after, problems, type="unavailable") - read(busy, problems, type="unavailable") == 2


async def test_each_request_that_shared_a_read_counts_if_no_connection_was_free(
    migrated_url: URL,
) -> None:
    timeouts = "songbook_pool_wait_timeouts_total"
    async with (
        SAMPLES.on(migrated_url, pool_size=1, pool_timeout=0.2) as (client, database),
        database.connection(),
    ):
        before = await metrics(client)
        answers = await asyncio.gather(*(client.get("/books/1") for _ in range(5)))
        after = await metrics(client)

    assert {answer.status_code for answer in answers} == {503}
    assert read(after, timeouts) - read(before, timeouts) == 5


async def test_imports_and_exports_are_counted_by_outcome(migrated_url: URL) -> None:
    csv = {"Content-Type": "text/csv"}
    rows = "name,author,year\na,b,1999\nc,d,1999\n"
    async with SAMPLES.on(migrated_url) as (client, _):
        before = await metrics(client)
        for path, headers, content in (
            ("/books", {"Idempotency-Key": "k"}, rows),
            ("/books", {"Idempotency-Key": "k"}, rows),
            ("/books?dry_run=true", {}, rows),
            ("/books", {}, "name,author,year\na,b,?\n"),
        ):
            await client.post(path, content=content, headers={**csv, **headers})
        await client.head("/books", headers={"Accept": "text/csv"})
        await client.get("/books", headers={"Accept": "text/csv"})
        after = await metrics(client)

    def difference(name: str, **labels: str) -> float:
        return read(after, f"songbook_{name}_total", **labels) - read(
            before, f"songbook_{name}_total", **labels
        )

    for outcome in ("stored", "replayed", "dry_run", "failed"):
        assert difference("imports", resource="books", outcome=outcome) == 1
    assert difference("imported_rows", resource="books") == 2
    assert difference("exports", resource="books", outcome="complete") == 1


async def test_an_older_schema_is_seen_with_its_distance(
    migrated_url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("songbook.monitoring._CHECK_PERIODS", 1)
    monkeypatch.setattr("songbook.monitoring._PERIOD_SECONDS", 0.2)
    execute(migrated_url, "DELETE FROM alembic_version")
    async with SAMPLES.on(migrated_url) as (client, _):
        async with asyncio.timeout(30):
            while not read(await metrics(client), "songbook_schema_revisions_behind"):
                await client.get("/books")
        text = await metrics(client)
        assert read(text, "songbook_ready", check="schema") == 0
        assert read(text, "songbook_ready", check="database") == 1
        assert abs(read(text, "songbook_clock_difference_seconds")) < 10


@pytest.mark.parametrize(
    ("settings", "statuses"),
    [
        ({}, (200, 200)),
        ({"metrics_token": TOKEN}, (401, 200)),
        ({"environment": "prod", "metrics_token": TOKEN}, (401, 200)),
        ({"environment": "prod"}, (404, 404)),
    ],
)
async def test_production_shows_metrics_to_those_with_the_token_only(
    settings: dict[str, Any], statuses: tuple[int, int], migrated_url: URL
) -> None:
    secret = {"oauth_token_secret": TOKEN[::-1]} if "environment" in settings else {}
    async with SAMPLES.on(migrated_url, **settings, **secret) as (client, _):
        stranger = await client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}x"})
        known = await client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})

    assert (stranger.status_code, known.status_code) == statuses


async def test_a_port_of_their_own_takes_the_metrics_off_the_main_port(migrated_url: URL) -> None:
    port = free_port()
    async with SAMPLES.on(migrated_url, metrics_port=port) as (client, _):
        assert_problem(await client.get("/metrics"), 404)
        text = await asyncio.to_thread(
            lambda: httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text
        )
        assert read(text, "songbook_pool_size") in {0, 20}  # set within a second
        with pytest.raises(CommandError, match="METRICS_PORT cannot be used"):
            async with SAMPLES.on(migrated_url, metrics_port=port):
                pass


async def test_what_a_scrape_told_stays_if_the_process_is_killed(
    migrated_url: URL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("songbook.monitoring._PERIOD_SECONDS", 3600)
    async with SAMPLES.on(migrated_url, metrics_dir=tmp_path) as (client, _):
        for _ in range(3):
            await client.get("/ping")
        told = await metrics(client)
        [shared] = read_snapshots(tmp_path)

    found = shared[COUNT.removesuffix("_count")].samples["/ping", "GET", "200"]
    assert sum(found[:-1]) == read(told, COUNT, route="/ping", status="200", method="GET") >= 3


async def test_a_folder_that_cannot_be_used_is_told_at_the_start(
    migrated_url: URL, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CommandError, match="METRICS_DIR cannot be used"):
        async with SAMPLES.on(migrated_url, metrics_dir=tmp_path / "file"):
            pass


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"metrics_token": "secret-token"}, "METRICS_TOKEN is a placeholder"),
        ({"metrics_token": TOKEN, "metrics_port": 9464}, "does not protect METRICS_PORT"),
    ],
)
def test_a_token_that_protects_nothing_is_refused_in_production(
    settings: dict[str, Any], problem: str, migrated_url: URL
) -> None:
    with pytest.raises(CommandError, match=problem):
        SAMPLES.app(
            database_url=spelled(migrated_url),
            environment="prod",
            oauth_token_secret=TOKEN[::-1],
            **settings,
        )


@slow
@pytest.mark.processes
def test_two_workers_count_as_one_also_after_one_is_killed(migrated_url: URL) -> None:
    port = free_port()
    with SAMPLES.serving(
        *("--workers", "2"), DATABASE_URL=spelled(migrated_url), METRICS_PORT=str(port)
    ) as service:

        def scraped() -> float:
            text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text
            return read(text, COUNT, route="/ping", method="GET")

        def ask(number: int) -> int:
            return sum(
                httpx.get(f"{service.address}/ping", timeout=10).status_code == 200
                for _ in range(number)
            )

        wait_until(scraped)
        before = scraped()
        assert ask(100) == 100
        wait_until(lambda: scraped() == before + 100)

        os.kill(children_of(service.process.pid)[-1], signal.SIGKILL)
        wait_until(lambda: len(children_of(service.process.pid)) >= 2)
        assert scraped() == before + 100
        wait_until(lambda: ask(1))
        wait_until(lambda: scraped() == before + 101)
