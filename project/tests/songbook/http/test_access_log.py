"""The access log: a line for each request, which tells nothing that a client sent."""

import asyncio
import fcntl
import json
import os
import pty
import signal
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from sqlalchemy.engine import URL

from songbook.http.access_log import Access, AccessLog
from songbook.metrics.instruments import INSTRUMENTS
from tests.samples.settings import Settings
from tests.support.databases import spelled
from tests.support.marks import slow
from tests.support.services import SAMPLES

ACCESS = Access("GET", "/books/{id}", 200, 0.00123, 45, "abc", None, 7)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Give the ends of a pipe."""
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            assert end == ends[0], "a test may have closed the end that reads"


def dropped() -> float:
    """Return how many lines could not be written."""
    return INSTRUMENTS["songbook_log_dropped_lines_total"].samples[()][0]


def lines(text: bytes | str) -> list[dict[str, Any]]:
    """Return the members of each line."""
    return [json.loads(line) for line in text.splitlines()]


async def test_the_lines_of_an_iteration_of_the_loop_are_one_write(pipe: tuple[int, int]) -> None:
    log = AccessLog(pipe[1])
    log.write(ACCESS)
    log.write(ACCESS._replace(user_id=None, trace_id="4bf9"))
    await asyncio.sleep(0)

    first, second = lines(os.read(pipe[0], 1000))
    assert first.pop("timestamp") <= second.pop("timestamp")
    same = {
        "level": "info",
        "event": "request",
        "method": "GET",
        "route": "/books/{id}",
        "status": 200,
        "duration_ms": 1.23,
        "bytes": 45,
        "request_id": "abc",
    }
    assert first == {**same, "user_id": 7}
    assert second == {**same, "trace_id": "4bf9"}


async def test_a_reader_that_hangs_loses_lines_and_blocks_nobody(pipe: tuple[int, int]) -> None:
    fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, 4096)
    log, before = AccessLog(pipe[1]), dropped()
    for _ in range(100):
        log.write(ACCESS)
    await asyncio.sleep(0)

    read = lines(os.read(pipe[0], 65536))
    assert len(read) + dropped() - before == 100
    assert read


async def test_a_reader_that_has_gone_is_no_failure(pipe: tuple[int, int]) -> None:
    log, before = AccessLog(pipe[1]), dropped()
    os.close(pipe[0])
    log.write(ACCESS)
    await asyncio.sleep(0)

    assert dropped() == before + 1


async def test_a_terminal_gets_lines_for_people() -> None:
    reader, terminal = pty.openpty()
    log = AccessLog(terminal)
    log.write(ACCESS)
    log.write(ACCESS._replace(route="", status=404, user_id=None))
    await asyncio.sleep(0)

    first, second = os.read(reader, 1000).decode().splitlines()
    assert first.endswith("GET /books/{id} 200 1.2 ms 45 B user 7 abc")
    assert second.endswith("GET (no route) 404 1.2 ms 45 B abc")


async def test_each_request_has_a_line_without_what_the_client_sent(
    migrated_url: URL, capfd: pytest.CaptureFixture[str]
) -> None:
    async with SAMPLES.on(migrated_url, access_log=True) as (client, _):
        await client.get("/books/1?fields=canary", headers={"X-Request-ID": "mine"})
        await client.get("/canary?canary=1")
        await client.head("/ping")
        await client.post("/books", json={"name": "canary", "author": "canary"})
        await client.request("PUT", "/books", json={"canary": 1})

    printed = capfd.readouterr().out
    found = [
        (each["method"], each["route"], each["status"], each["bytes"] > 0)
        for each in lines(printed)
    ]
    assert found == [
        ("GET", "/books/{id}", 422, True),
        ("GET", "", 404, True),
        ("HEAD", "/ping", 200, False),
        ("POST", "/books", 201, True),
        ("PUT", "/books", 405, True),
    ]
    assert lines(printed)[0]["request_id"] == "mine"
    assert "canary" not in printed


@pytest.mark.parametrize(
    ("settings", "is_logged"),
    [({}, True), ({"ENVIRONMENT": "qa"}, False), ({"ACCESS_LOG": "false"}, False)],
)
@pytest.mark.processes
@slow
def test_in_development_a_server_logs_requests_unless_a_setting_says_otherwise(
    settings: dict[str, str],
    is_logged: bool,  # noqa: FBT001
    migrated_url: URL,
) -> None:
    with SAMPLES.serving(DATABASE_URL=spelled(migrated_url), **settings) as service:
        httpx.get(f"{service.address}/ping")
        printed = service.end(signal.SIGTERM).printed

    assert ('"route":"/ping"' in printed) == is_logged


async def test_an_application_without_a_server_logs_no_requests(
    migrated_url: URL, capfd: pytest.CaptureFixture[str]
) -> None:
    assert Settings().environment == "dev"
    async with SAMPLES.on(migrated_url) as (client, _):
        await client.get("/ping")

    assert capfd.readouterr().out == ""
