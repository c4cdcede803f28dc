"""Attacks that hold the connections to the database."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count

import asyncpg
from abuse_http import Reply, ask, connected, head, message, receive, send
from attacks import ADDRESS, PATIENT, POOL_SIZE, Attack, Target, crowd

SONGS, TODOS = 100_000, 1000
STRANGER = "127.0.0.2"
CLIENTS = 12
CSV = "Accept: text/csv"
WRITERS = 150
READERS = 30
REMOVAL_SECONDS = 60  # behind the attack
BACKENDS = POOL_SIZE + 5  # connections to PostgreSQL: the pool, and some that are being cancelled

# 75 years, one song in twenty without; half of the artists have an `a` in their name. In JSON every
# character of the todos takes six bytes.
FILL = f"""
    INSERT INTO song (name, artist, year)
    SELECT 'Song number ' || n, (ARRAY['Mogwai', 'Low', 'Can', 'Slint'])[1 + n % 4] || n % 5000,
           CASE WHEN n % 20 > 0 THEN 1950 + n * 7 % 75 END
    FROM generate_series(1, {SONGS}) AS n;
    INSERT INTO todo (content) SELECT repeat(chr(1), 10000) FROM generate_series(1, {TODOS});
    INSERT INTO idempotency (principal, key, fingerprint, status, body, created_at)
    SELECT 0, decode(md5(n::text), 'hex'), '', 201, '', now() - interval '2 days'
    FROM generate_series(1, 1000) AS n;
"""
ACTIVE = """
    SELECT count(*) FROM pg_stat_activity
    WHERE application_name = 'songbook' AND query ILIKE $1 AND state <> 'idle'
"""
QUIET = """
    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE application_name = 'songbook'
"""
"""Ends what a service that was stopped has left behind, a burden to the next attack."""
ALL = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'songbook'"


def nearly(number: int) -> str:
    """Return a filter that compares each part of each todo, and fits none."""
    return f"/todos?content_contains={'%01' * (240 + number)}x"


LISTS = [
    *(nearly(number) for number in range(3)),
    "/songs?sort=name&limit=1000&count=exact",
    "/songs?sort=artist,-name&limit=1000&count=exact&name_contains=1",
    "/songs?q=" + "+".join(f"word{number}" for number in range(60)),
    "/songs?q=song+number&count=exact&sort=artist",
]


@asynccontextmanager
async def database(target: Target) -> AsyncIterator[asyncpg.Connection]:
    """Connect to the database of the service."""
    connection = await asyncpg.connect(target.service.url.replace("+asyncpg", ""))
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def locked(target: Target) -> AsyncIterator[None]:
    """Lock a row as long as this lasts."""
    async with database(target) as connection, connection.transaction():
        await connection.execute("SELECT FROM song WHERE id = 2 FOR UPDATE")
        yield


async def watch(target: Target, statement: str, *values: str, name: str) -> None:
    """Note the largest number that a statement finds."""
    async with database(target) as connection:
        while True:
            target.most(name, await connection.fetchval(statement, *values))
            await asyncio.sleep(0.1)


def listing(target: Target) -> list[asyncio.Future[None]]:
    """Return clients that read lists which take long; each has another one first."""
    requests = [head("GET", path) for path in LISTS]
    turns = [requests[n % len(requests) :] + requests[: n % len(requests)] for n in range(CLIENTS)]
    return [asyncio.ensure_future(target.repeat(*turn)) for turn in turns]


def patching(target: Target) -> list[asyncio.Future[None]]:
    """Return clients that change one row."""
    request = message("PATCH", "/songs/2", '{"year": 2000}')
    return [asyncio.ensure_future(target.repeat(request)) for _ in range(WRITERS)]


async def lists(target: Target) -> None:
    """Read lists that take long."""
    await crowd(listing(target), target.seconds)


async def locked_row(target: Target) -> None:
    """Change a row that a transaction has locked."""
    async with locked(target):
        await crowd(patching(target), target.seconds)


async def lists_and_locked_row(target: Target) -> None:
    """Do both."""
    async with locked(target):
        await crowd([*listing(target), *patching(target)], target.seconds)


async def keys(target: Target) -> None:
    """Send creates with ever new keys; the service itself must remove those of two days ago."""
    numbers = count()

    async def create() -> None:
        while True:
            key = f"Idempotency-Key: abuse-{next(numbers)}-{target.service.pid}"
            await target.ask(message("POST", "/cities", city(), key))

    def city() -> str:
        return json.dumps({"name": f"{target.service.pid} {next(numbers)}", "population": 1})

    await crowd((create() for _ in range(8)), target.seconds)
    async with database(target) as connection:
        target.count("keys stored", await connection.fetchval("SELECT count(*) FROM idempotency"))
        left = await old_keys(target, connection)
    otherwise = f"{left} keys of two days ago were left in the table"
    target.check(holds=not left, otherwise=otherwise)


async def old_keys(target: Target, connection: asyncpg.Connection) -> int:
    """Wait for the first removal, a minute after the start, unless in a hurry; count the rest."""
    statement = "SELECT count(*) FROM idempotency WHERE created_at < now() - interval '30 hours'"
    if target.seconds < PATIENT:
        return 0
    for _ in range(REMOVAL_SECONDS):
        if not await connection.fetchval(statement):
            return 0
        await asyncio.sleep(1)
    return int(await connection.fetchval(statement))


async def commits(target: Target) -> None:
    """Write while every commit waits for a standby that does not exist."""
    async with database(target) as admin:
        await admin.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        await admin.execute("SELECT pg_reload_conf()")
        try:
            request = message("POST", "/songs", '{"name": "a", "artist": "b"}')
            clients = [target.repeat(request) for _ in range(30)]
            await crowd([*clients, watch(target, ALL, name="backends")], target.seconds)
        finally:
            await admin.execute("ALTER SYSTEM RESET synchronous_standby_names")
            await admin.execute("SELECT pg_reload_conf()")
    most = target.achieved["backends"]
    otherwise = f"the service had {most} connections to PostgreSQL; at most {BACKENDS} are allowed"
    target.check(holds=most <= BACKENDS, otherwise=otherwise)


async def abandoned(target: Target) -> None:
    """Start exports that find nothing for long, and leave."""
    request = head("GET", nearly(0), CSV)

    async def start() -> None:
        while True:
            with suppress(OSError):
                async with connected(target.service.port, ADDRESS) as connection:
                    await send(connection, request)
                    await asyncio.sleep(0.1)
                    target.count("exports left")
            await asyncio.sleep(0.1)

    clients = [start() for _ in range(CLIENTS)]
    await crowd([*clients, watch(target, ACTIVE, "COPY%", name="copies")], target.seconds)
    async with database(target) as connection:
        left = await remaining(connection, target.bounds.patience)
    most = target.achieved["copies"]
    otherwise = f"{most} backends copied at once; at most {POOL_SIZE // 2} are allowed"
    target.check(holds=most <= POOL_SIZE // 2, otherwise=otherwise)
    target.check(holds=not left, otherwise=f"{left} backends copied for nobody")


async def remaining(connection: asyncpg.Connection, seconds: float) -> int:
    """Return how many backends still copy after so many seconds; 0 as soon as none does."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while True:
        left = int(await connection.fetchval(ACTIVE, "COPY%"))
        if not left or loop.time() > end:
            return left
        await asyncio.sleep(0.1)


async def unread(target: Target) -> None:
    """Ask for the largest pages, and do not read them."""
    pages = head("GET", "/todos?limit=1000")
    await crowd((target.hold(pages, b"", 0.5, "pages") for _ in range(READERS)), target.seconds)


async def trickle(target: Target) -> None:
    """Hold exports and imports at a byte a second; others import and export meanwhile."""
    export = head("GET", "/songs", CSV)
    lines = ("Content-Type: text/csv", "Content-Length: 1000000")
    load = head("POST", "/songs", *lines) + b"name,artist\r\n"
    exports = [sip(target, export) for _ in range(8)]
    imports = [target.hold(load, b"a", 1, "imports") for _ in range(80)]
    await crowd([*exports, *imports, stranger(target)], target.seconds)
    asked, served = (
        target.achieved["transfers of others"],
        target.achieved["transfers of others answered"],
    )
    otherwise = f"{served} of {asked} exports and imports of another address were answered"
    target.check(holds=served >= asked * target.bounds.answered / 100, otherwise=otherwise)


async def sip(target: Target, request: bytes) -> None:
    """Read some bytes of a response every second; begin anew when it ends."""
    while True:
        with suppress(OSError):
            async with connected(target.service.port, ADDRESS, 4096) as connection:
                await send(connection, request)
                target.count("exports begun")
                is_open = True
                while is_open:
                    await asyncio.sleep(1)
                    is_open = bool(await receive(connection, 100))
        await asyncio.sleep(0.2)


async def stranger(target: Target) -> None:
    """Export and import a little from another address, again and again."""
    requests = [
        head("GET", "/cities?id=1", CSV),
        message("POST", "/songs", "name,artist\r\na,b\r\n", kind="text/csv"),
    ]
    await asyncio.sleep(1)
    while True:
        for request in requests:
            reply: Reply = await ask(target.service.port, request, address=STRANGER)
            target.count("transfers of others")
            target.count("transfers of others answered", reply.status in {200, 201})
            await asyncio.sleep(0.1)


ATTACKS = [
    Attack("lists", f"{CLIENTS} clients read lists that take long", lists),
    Attack("locked-row", f"{WRITERS} clients change a locked row", locked_row),
    Attack("lists-and-locked-row", "both at once", lists_and_locked_row),
    Attack("keys", "creates with ever new idempotency keys", keys),
    Attack("commits", "writes whose commits wait for a standby", commits),
    Attack("abandoned", f"{CLIENTS} clients start exports and leave", abandoned),
    Attack("unread", f"{READERS} clients do not read the largest pages", unread),
    Attack("trickle", "exports and imports at a byte a second", trickle),
]
