"""Deploys: what clients see of a server that stops, with a real process and raw sockets."""

import json
import signal
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from tests.support.deploys import PING, asked, ended, samples, tiny
from tests.support.marks import slow
from tests.support.raw_http import head, message, read_reply
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.processes, slow]

FOREVER = 300.0


def test_readiness_fails_first_and_all_is_served_until_the_drain_is_over(migrated_url: URL) -> None:
    readiness = head("GET", "/readyz")
    with samples(migrated_url, 6) as served:
        assert served.ask(readiness).status == 200
        kept, idle = served.kept(), served.kept()
        begun = served.signal()
        wait_until(lambda: served.ask(readiness).status == 503)
        checks = json.loads(served.ask(readiness).body)["checks"]
        answers = [served.ask(PING), asked(kept), served.ask(head("GET", "/books"))]

        assert ended(kept) < begun + 6 <= ended(idle)
        assert served.code() == 143

    assert checks == {"draining": "the service is about to stop"}
    assert [answer.status for answer in answers] == [200] * 3
    assert [answer.headers["Connection"] for answer in answers] == ["close"] * 3


def test_a_request_that_has_begun_is_completed_after_the_listener_is_closed(
    migrated_url: URL,
) -> None:
    request = message("POST", "/books", json.dumps({"name": "Hurt", "author": "Johnny Cash"}))
    with samples(migrated_url, 0) as served:
        connection = served.connect()
        connection.sendall(request[:-5])
        assert served.ask(PING).status == 200  # so that the other one has been read
        served.signal()
        wait_until(served.is_closed)
        connection.sendall(request[-5:])
        reply = read_reply(connection)
        assert served.code() == 143

    assert (reply.status, reply.headers["Connection"]) == (201, "close")


def test_headers_that_have_begun_to_arrive_are_waited_for() -> None:
    with tiny(4) as served:
        connections = [served.connect(), served.kept()]
        served.signal()
        for connection in connections:
            connection.sendall(PING[:-4])
        wait_until(served.is_closed)
        replies = [asked(connection, PING[-4:]) for connection in connections]

    assert [reply.status for reply in replies] == [200, 200]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_the_drain(number: signal.Signals) -> None:
    with tiny(FOREVER) as served:
        kept = served.kept()
        served.signal()
        wait_until(lambda: served.ask(PING).headers["Connection"] == "close")
        served.signal(number)
        ended(kept)
        assert served.code() == -signal.SIGTERM


def test_an_interrupted_server_does_not_drain() -> None:
    with tiny(FOREVER) as served:
        served.signal(signal.SIGINT)
        assert served.code() == 0


def test_a_server_without_workers_drains_when_its_terminal_is_closed() -> None:
    with tiny(1) as served:
        idle = served.kept()
        begun = served.signal(signal.SIGHUP)
        assert ended(idle) >= begun + 1
        assert served.code() == -signal.SIGHUP


def test_connections_that_the_kernel_has_accepted_are_answered(tmp_path: Path) -> None:
    """While the event loop is blocked, connections wait in the queue of the listener."""
    blocked = tmp_path / "blocked"
    with tiny(0, BLOCKED=str(blocked)) as served:
        blocking = served.connect()
        blocking.sendall(head("GET", "/block"))
        wait_until(blocked.exists)
        connections = [served.connect() for _ in range(20)]
        for connection in connections:
            connection.sendall(PING)
        served.signal()
        replies = [read_reply(connection) for connection in (blocking, *connections)]
        assert served.code() == -signal.SIGTERM

    assert [reply.status for reply in replies] == [200] * 21
