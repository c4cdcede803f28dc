"""Runs the cases against a service, and checks what holds for all of them."""

import json
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress

import asyncpg
from abuse_bounds import Bounds
from abuse_http import Reply, ask, head
from abuse_service import CANARY, PASSWORD, Service
from cases import Case, Sender
from cases_http import framing, headers, media, request_lines, sizes, targets
from cases_sequences import SEQUENCES, World
from cases_values import queries, syntax, texts, values

FAMILIES = (
    framing, request_lines, targets, queries, media, syntax, values, headers, sizes, texts
)  # fmt: skip
LEAKS = re.compile(
    r"SELECT|INSERT|UPDATE song|DELETE FROM|\$1\b|sqlalchemy|asyncpg|pydantic|Traceback|\.py\b"
    rf"|site-packages|Error\(|hashed_password|argon2|{CANARY}|{PASSWORD}"
)
ROWS = """
    INSERT INTO song (name, artist) VALUES ('a', 'b'), ('c', 'd');
    INSERT INTO cities (name, population) VALUES ('Paris', 1), ('Rome', 2);
    INSERT INTO todo (content) VALUES ('a'), ('b');
"""
TABLES = """
    SELECT tablename FROM pg_tables
    WHERE schemaname = 'public' AND tablename NOT LIKE 'login%' ORDER BY tablename
"""
Tell = Callable[[str], None]


class Stored:
    """What the tables hold, but those that count attempts to sign in."""

    def __init__(self, connection: asyncpg.Connection, statement: str) -> None:
        self.hash = ""
        self._connection = connection
        self._statement = statement

    @classmethod
    async def of(cls, connection: asyncpg.Connection) -> "Stored":
        """Find the tables."""
        rows = " UNION ALL ".join(
            f"SELECT string_agg(t::text, ',' ORDER BY t::text) AS rows FROM {name} t"
            for (name,) in await connection.fetch(TABLES)
        )
        return cls(connection, f"SELECT md5(string_agg(coalesce(rows, ''), ';')) FROM ({rows}) x")

    async def has_changed(self) -> bool:
        """Tell whether a row is another one than when this was called last."""
        before, self.hash = self.hash, await self._connection.fetchval(self._statement)
        return before != self.hash


async def run_cases(
    service: Service, url: str, bounds: Bounds, tell: Tell
) -> tuple[int, list[str]]:
    """Run all cases; return how many, and the failures."""
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        await connection.execute(ROWS)
        stored = await Stored.of(connection)
        nobody = World(service.port, Sender(""), bounds)
        world = nobody._replace(sender=Sender(await nobody.sign_in("ada")))
        cases = [case for family in FAMILIES for case in family(world.sender)]
        failures = []
        await stored.has_changed()
        for case in cases:
            tell(case.name)
            found = [each async for each in faults(case, service, stored, bounds)]
            failures += [f"{case.name}: {each}" for each in found]
        for sequence in SEQUENCES:
            tell(sequence.__name__)
            failures += await failed(sequence, world)
    finally:
        await connection.close()
    return len(cases) + len(SEQUENCES), failures


async def faults(  # noqa: ANN201 - an iterator
    case: Case, service: Service, stored: Stored, bounds: Bounds
):
    """Give what is wrong with the answer, or with the service behind it."""
    reply = await ask(service.port, case.request)
    if reply.status not in case.statuses:
        yield f"{reply.status} in place of {sorted(case.statuses)}: {reply.body[:120]!r}"
    if reply.seconds > bounds.patience:
        yield f"answered after {reply.seconds:.1f} s"
    for fault in faults_of(reply, case):
        yield fault
    if await stored.has_changed() and not 200 <= reply.status < 300:
        yield "changed a table"
    normal = await ask(service.port, head("GET", "/songs/1"))
    if normal.status != 200 or normal.seconds > bounds.patience:
        yield f"a stranger got {normal.status} afterwards, in {normal.seconds:.1f} s"


def faults_of(reply: Reply, case: Case) -> Iterator[str]:
    """Give what is wrong with the form of a response."""
    if "server" in reply.headers:
        yield "tells the server's name"
    if reply.status < 400:
        return
    text = told(reply)
    if found := LEAKS.search(text):
        yield f"tells {found[0]!r}"
    if case.bad and case.bad in text:
        yield f"repeats {case.bad[:40]!r}"
    if case.layer == "A":
        yield from faults_of_problem(reply)


def told(reply: Reply) -> str:
    """Return the texts of a response, but for those that say which place they are about."""
    body = reply.body.decode("utf-8", errors="replace")
    with suppress(ValueError, AttributeError):
        problem = json.loads(body)
        problem.pop("instance", None)
        for error in problem.get("errors", []):
            error.pop("pointer", None)
        body = json.dumps(problem, ensure_ascii=False)
    return body


def faults_of_problem(reply: Reply) -> Iterator[str]:
    """Give what is wrong with problem details (RFC 9457)."""
    wanted = {
        "content-type": "application/problem+json",
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
    }
    wrong = [name for name, value in wanted.items() if reply.headers.get(name) != value]
    if wrong:
        yield f"has another {', '.join(wrong)}"
    if (reply.status == 405) != ("allow" in reply.headers):
        yield "Allow belongs to 405"
    if (reply.status == 401) != ("www-authenticate" in reply.headers):
        yield "WWW-Authenticate belongs to 401"
    if len(reply.body) > 8192:
        yield f"has {len(reply.body)} bytes"
    with suppress(ValueError):
        if not reply.body or json.loads(reply.body)["status"] == reply.status:
            return
    yield "is no problem details"


async def failed(sequence: Callable[[World], Awaitable[None]], world: World) -> list[str]:
    """Run a sequence; return its failure."""
    try:
        await sequence(world)
    except (AssertionError, OSError, KeyError, ValueError) as error:
        return [f"{sequence.__doc__} {type(error).__name__}: {error!s:.300}"]
    return []
