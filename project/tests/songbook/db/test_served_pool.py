"""What a process answers to a bystander while other clients hold all that they can."""

import re
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager

import httpx
import pytest
from httpx import AsyncClient
from sqlalchemy import text
from sqlalchemy.engine import URL

from tests.support.databases import beside, execute
from tests.support.marks import slow
from tests.support.raw_http import head, message
from tests.support.served import POOL_SIZE, Process, process
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.processes, slow]

PLACES = POOL_SIZE // 2 - 1
LAY_OUT = (
    "INSERT INTO towns (name, population) VALUES ('t', 1)",
    "INSERT INTO book (name, author) SELECT 'n' || i, 'b' FROM generate_series(1, 20000) AS i",
    """
    CREATE FUNCTION slow(given text) RETURNS text STABLE LANGUAGE plpgsql
    AS $$ BEGIN PERFORM pg_sleep(0.001); RETURN given; END $$
    """,
    "ALTER TABLE book RENAME TO stored",
    "CREATE VIEW book AS SELECT id, version, slow(name) AS name, author, year FROM stored",
)
ATTACKS = {
    "dear lists": [head("GET", f"/books?name_contains=nowhere{n}") for n in range(12)],
    "writes of one row": [message("PATCH", "/towns/1", '{"population":2}')] * 150,
}
ATTACKS["both"] = [each for attack in ATTACKS.values() for each in attack]


@pytest.fixture(scope="module")
def served(server: URL, template: URL) -> Iterator[Process]:
    """Give a process; its lists of books take PostgreSQL many seconds."""
    with process(server, template, POOL_TIMEOUT="5") as found:  # so long do writes press on
        execute(found.url, *LAY_OUT)
        yield found


@asynccontextmanager
async def locked_row(url: URL) -> AsyncIterator[None]:
    """Lock the row of a town."""
    async with beside(url) as connection:
        await connection.execute(text("BEGIN"))
        await connection.execute(text("SELECT FROM towns WHERE id = 1 FOR UPDATE"))
        yield


@pytest.mark.parametrize("attack", ATTACKS)
async def test_a_bystander_is_always_answered(served: Process, attack: str) -> None:
    kinds = 2 if attack == "both" else 1
    with ExitStack() as clients:
        async with locked_row(served.url):
            for request in ATTACKS[attack]:
                client = clients.enter_context(socket.create_connection(("127.0.0.1", served.port)))
                client.sendall(request)
            wait_until(lambda: len(served.busy()) >= kinds * PLACES)
            async with AsyncClient(base_url=served.address) as bystander:
                rows = [(await bystander.get("/towns/1")).status_code for _ in range(50)]
            assert len(served.busy()) <= kinds * PLACES
    assert rows == [200] * 50
    wait_until(lambda: is_idle(served) and served.busy() == [])


def is_idle(served: Process) -> bool:
    """Tell whether no request has a connection or waits for one, as those of clients that left."""
    metrics = httpx.get(f"{served.address}/metrics", timeout=20).text
    used = re.findall(r"^songbook_pool_(?:in_use|waiting\{.*\}) (.*)$", metrics, re.MULTILINE)
    return set(used) == {"0.0"}
