"""What requests carry is in no line of the log, whatever fails."""

import signal
import socket
from contextlib import ExitStack

import httpx
from sqlalchemy.engine import URL

from tests.support.databases import execute, spelled
from tests.support.leaks import CANARY
from tests.support.marks import slow
from tests.support.processes import Service
from tests.support.raw_http import head, message
from tests.support.services import SAMPLES
from tests.support.triggers import FUNCTION, TRIGGER

pytestmark = slow

QUERY = f"q={CANARY}&name={CANARY}&sort={CANARY}"
BOOK = {"name": CANARY, "author": CANARY, "year": 1999}
TOWN = {"name": CANARY, "population": 1}


def rejected(client: httpx.Client) -> set[int]:
    """Send what validation, routing and constraints reject; return the statuses."""
    form = {"username": CANARY, "password": CANARY}
    lines = f"name,author,year\n{CANARY},{CANARY},{CANARY}\n"
    answers = [
        client.get(f"/nowhere?{QUERY}"),
        client.get(f"/books?{QUERY}"),
        client.get(f"/books?cursor={CANARY}"),
        client.get(f"/books/{CANARY}?{QUERY}"),
        client.patch(f"/books?{QUERY}", json=BOOK),
        client.post("/books", json=BOOK | {CANARY: 1, "year": CANARY}),
        client.post("/books", content=f'{{"name": "{CANARY}'.encode()),
        client.post("/books", content=CANARY, headers={"Content-Type": "text/plain"}),
        client.post("/books/import", content=lines, headers={"Content-Type": "text/csv"}),
        client.post("/api/auth/token", data=form),
        client.post("/towns", json=TOWN),
        client.post("/towns", json=TOWN),
    ]
    return {answer.status_code for answer in answers}


def misframed(service: Service) -> list[socket.socket]:
    """Send what is no HTTP, and what stops amid a head and a body; return the connections."""
    body = message("POST", f"/books?{QUERY}", CANARY * 9)
    sent = [
        f"{CANARY} {CANARY}\r\n\r\n".encode(),
        head("GET", f"/books?{QUERY}", "Content-Length: 1", "Content-Length: 2"),
        head("POST", f"/books?{QUERY}", "Transfer-Encoding: chunked") + CANARY.encode(),
        head("GET", f"/books?{QUERY}")[:-2],
        body[:-1],
    ]
    connections = []
    for each in sent:
        one = socket.create_connection(("127.0.0.1", int(service.address.rpartition(":")[2])), 20)
        one.sendall(each)
        connections.append(one)
    return connections


def failing(client: httpx.Client, url: URL) -> list[int]:
    """Let the database fail in several ways; return the statuses."""
    bug = FUNCTION.format(body="BEGIN RAISE '% is refused', NEW.name; END")
    slow_list = "ALTER TABLE towns ADD CHECK (name <> pg_sleep(6)::text) NOT VALID"
    statuses: list[int] = []

    def ask(*paths: str) -> None:
        answers = [client.get(f"{path}?name={CANARY}") for path in paths]
        answers.append(client.post("/books", json=BOOK))
        statuses.extend(answer.status_code for answer in answers)

    execute(url, bug, TRIGGER)
    ask()
    execute(url, slow_list, "DROP FUNCTION refuse CASCADE")
    statuses.append(client.post("/towns", json=TOWN | {"name": f"{CANARY} 2"}).status_code)
    execute(url, "ALTER TABLE book RENAME name TO title")
    ask("/books")
    admin, name = url.set(database="postgres"), url.database
    ends = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = "
    execute(admin, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false', f"{ends} '{name}'")
    ask("/books", "/readyz")
    execute(admin, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    return statuses


def test_nothing_of_a_query_or_a_body_is_in_the_log_whatever_fails(migrated_url: URL) -> None:
    settings = {"ECHO_SQL": "true", "LOG_LEVEL": "DEBUG", "HEAD_SECONDS": "1", "BODY_SECONDS": "1"}
    with (
        SAMPLES.serving(DATABASE_URL=spelled(migrated_url), **settings) as service,
        ExitStack() as kept,
    ):
        client = kept.enter_context(httpx.Client(base_url=service.address, timeout=20))
        connections = [kept.enter_context(each) for each in misframed(service)]
        statuses = rejected(client)
        failures = failing(client, migrated_url)
        for each in connections:
            assert b" 4" in each.recv(65536)[:13]
        end = service.end(signal.SIGTERM)  # which reads all lines

    assert statuses == {201, 401, 404, 405, 409, 415, 422}
    assert failures == [500, 503, 503, 503, 503, 503, 503]
    for event in ("Request failed", "Invalid HTTP request", "INSERT INTO", "Not ready"):
        assert event in end.told
    for state in ("P0001", "57014", "42703"):
        assert state in end.told
