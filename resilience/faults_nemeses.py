"""The faults: each happens under load and has ended when its function returns."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import asyncpg
from cluster import MAX_CONNECTIONS, Cluster, send, wait_until
from faults_client import Client, Outcome, encode
from faults_proxy import proxied
from faults_stage import OUR_BACKENDS, Stage, answers

TERMINATE = f"SELECT pg_terminate_backend(pid) {OUR_BACKENDS}"
ABORTED = 700  # at once: a client that is gone counts as a connection until its turn comes
FROZEN_SECONDS = 12  # longer than any request may take


async def kill(stage: Stage) -> None:
    """Kill -9 the postmaster and all its processes; start it again."""
    await asyncio.to_thread(stage.cluster.kill)
    await stage.hold(1)
    await asyncio.to_thread(stage.cluster.start)


async def kill_backend(stage: Stage) -> None:
    """Kill -9 one backend of the service: PostgreSQL ends all others and recovers."""
    [row] = await stage.cluster.fetch(f"SELECT pid {OUR_BACKENDS} LIMIT 1")
    os.kill(row["pid"], signal.SIGKILL)
    await asyncio.sleep(0.2)
    await answers(stage.cluster)


async def restart_fast(stage: Stage) -> None:
    """Run pg_ctl restart -m fast."""
    await asyncio.to_thread(stage.cluster.restart, "fast")


async def restart_immediate(stage: Stage) -> None:
    """Run pg_ctl restart -m immediate."""
    await asyncio.to_thread(stage.cluster.restart, "immediate")


async def terminate(stage: Stage) -> None:
    """Terminate all backends of the service each second."""
    async with stage.cluster.connection() as connection:
        for _ in range(5):
            await connection.execute(TERMINATE)
            await stage.hold(1)


async def freeze(stage: Stage) -> None:
    """SIGSTOP all processes of PostgreSQL."""
    processes = await asyncio.to_thread(stage.cluster.freeze)
    try:
        await asyncio.sleep(FROZEN_SECONDS)
    finally:
        send(signal.SIGCONT, processes)


async def cut(stage: Stage) -> None:
    """Cut connections after their COMMIT or statement, before the answer."""
    replays = stage.load.replays
    async with proxied(stage.cluster) as proxy:
        await stage.cluster.execute(TERMINATE)
        proxy.cut_commits, proxy.cut_statements = 4, 40

        async def is_enough() -> bool:
            return proxy.cuts >= 200 * stage.pace

        await wait_until(is_enough, 20)
        proxy.cut_commits = proxy.cut_statements = 0
        stage.load.heal()

        async def are_replayed() -> bool:
            return stage.load.replays - replays >= proxy.cuts

        await asyncio.sleep(1)
        await wait_until(are_replayed, stage.bounds.recovery)
    replayed = stage.load.replays - replays
    stage.notes.append(f"{proxy.cuts} COMMITs cut, {replayed} replayed")
    stage.require(proxy.cuts, "no COMMIT was cut")
    stage.require(replayed >= proxy.cuts, f"{proxy.cuts} COMMITs were cut, {replayed} replayed")


async def silence(stage: Stage) -> None:
    """Accept connections to PostgreSQL and say nothing."""
    async with proxied(stage.cluster) as proxy:
        proxy.fall_silent()
        await stage.cluster.execute(TERMINATE)
        await stage.hold(7)
        proxy.speak()
        stage.load.heal()
        await asyncio.sleep(1)


async def exhaust(stage: Stage) -> None:
    """Take all connections of PostgreSQL, those of the service too."""
    async with stage.cluster.connection() as connection, AsyncExitStack() as stack:
        for _ in range(3):
            for _ in range(MAX_CONNECTIONS):
                if not await _occupy(stage.cluster, stack):
                    break
            await connection.execute(TERMINATE)
        await stage.hold(4)


async def _occupy(cluster: Cluster, stack: AsyncExitStack) -> bool:
    """Take a connection; return whether there was one."""
    settings = {"application_name": "foreign"}
    host, name = str(cluster.folder), "songbook"
    try:
        taken = await asyncpg.connect(host=host, user=name, database=name, server_settings=settings)
    except asyncpg.TooManyConnectionsError:
        return False
    stack.push_async_callback(taken.close)
    return True


async def make_read_only(stage: Stage) -> None:
    """Set default_transaction_read_only, as a standby after a failover is; and back."""
    await stage.cluster.configure(default_transaction_read_only="on")
    await stage.hold(4)
    async with stage.cluster.connection() as connection:
        await connection.execute("SET default_transaction_read_only = off")
        await connection.execute("ALTER SYSTEM RESET default_transaction_read_only")
        await connection.execute("SELECT pg_reload_conf()")


async def lock_table(stage: Stage) -> None:
    """LOCK TABLE song IN ACCESS EXCLUSIVE MODE."""
    async with stage.cluster.connection() as connection, connection.transaction():
        await connection.execute("LOCK TABLE song IN ACCESS EXCLUSIVE MODE")
        await stage.hold(5)


async def stop_standby(stage: Stage) -> None:
    """Let each COMMIT wait for a synchronous standby that says nothing: none is acknowledged."""
    await stage.cluster.configure(synchronous_standby_names="nobody")
    await asyncio.sleep(1)  # what was committed before may still be answered
    before = stage.history.writes
    await asyncio.sleep(8)
    written = stage.history.writes - before
    stage.require(not written, f"{written} writes were acknowledged without the standby")
    # its own commits need no standby
    await stage.cluster.execute("ALTER SYSTEM RESET ALL", "SELECT pg_reload_conf()")


async def kill_workers(stage: Stage) -> None:
    """Kill -9 a worker; its parent starts another one."""
    for _ in range(3):
        before = stage.service.children
        os.kill(before[0], signal.SIGKILL)

        async def is_replaced(before: list[int] = before) -> bool:
            now = stage.service.children
            return before[0] not in now and len(now) == len(before)

        if not await wait_until(is_replaced, 20):
            stage.breaches.append("a killed worker was not replaced in 20 s")
        await stage.hold(2)


async def kill_service(stage: Stage) -> None:
    """Kill -9 the service; start it again."""
    for _ in range(2):
        stage.service.kill()
        await asyncio.sleep(0.2)
        stage.service.start()
        await stage.service.answers()
        await stage.hold(2)


async def abort(stage: Stage) -> None:
    """Close the connections of thousands of requests before they are answered."""
    limit = asyncio.Semaphore(8)

    async def send_and_leave(number: int) -> None:
        name = stage.history.invoke()
        headers = {"Idempotency-Key": name} if number % 2 else {}
        message = encode("POST", "/songs", {"name": name, "artist": "aborted"}, headers)
        async with limit:
            _, writer = await asyncio.open_connection("127.0.0.1", stage.service.port)
            writer.write(message if number % 8 else message[:-10])  # some within the body
            await asyncio.sleep(number % 21 / 1000)
            writer.close()

    bursts = max(1, round(4 * stage.pace))
    for _ in range(bursts):
        await asyncio.gather(*map(send_and_leave, range(ABORTED)))
        await asyncio.sleep(2)  # those that wait for a connection to PostgreSQL wait no longer
    stage.notes.append(f"{bursts * ABORTED:,} requests aborted")


async def fill_disk(stage: Stage) -> None:
    """Move the songs to a file system that is full: 53100."""
    cluster = stage.cluster
    with small_disk(cluster) as space:
        await cluster.execute(
            f"CREATE TABLESPACE small LOCATION '{space}'", "ALTER TABLE song SET TABLESPACE small"
        )
        filler = space.with_name("filler")
        await asyncio.to_thread(fill, filler)
        failed = stage.load.outcomes[Outcome.FAILED]
        await stage.hold(6)
        failed = stage.load.outcomes[Outcome.FAILED] - failed
        stage.notes.append(f"{failed} requests refused by a full disk")
        stage.require(failed, "the disk never became full")
        filler.unlink()
        stage.load.heal()
        await asyncio.sleep(3)
        await cluster.execute("ALTER TABLE song SET TABLESPACE pg_default", "CHECKPOINT")
        await cluster.execute("DROP TABLESPACE small")


@contextmanager
def small_disk(cluster: Cluster) -> Iterator[Path]:
    """Mount a file system of 24 MB; yield a folder in it that belongs to PostgreSQL."""
    with TemporaryDirectory() as parent:
        Path(parent).chmod(0o755)
        disk = Path(parent, "disk")
        disk.mkdir()
        mount = ("mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk))
        subprocess.run(mount, check=True)
        try:
            space = disk / "space"
            space.mkdir()
            os.chown(space, cluster.account.pw_uid, cluster.account.pw_gid)
            yield space
        finally:
            subprocess.run(("umount", "-l", str(disk)), check=True)


def fill(file: Path) -> None:
    """Write a file until the disk is full."""
    with suppress(OSError), file.open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(65536))


async def roll(stage: Stage) -> None:
    """Restart one server after the other behind the balancer, ten times."""
    await _roll(stage, 10)


async def _roll(stage: Stage, most: int) -> None:
    assert stage.balancer
    balancer, times = stage.balancer, max(1, round(most * stage.pace))
    for _ in range(times):
        for service in stage.services:
            service.signal(signal.SIGTERM)
            await service.ends()
            service.start()
            await service.answers()
            await _is_in_rotation(stage, service.port)
    failed = balancer.failures.total()
    stage.notes.append(
        f"{times} rolling restarts, {balancer.passed:,} requests passed on, {failed} not"
    )


async def roll_workers(stage: Stage) -> None:
    """Restart servers of two workers in the same way, then SIGHUP one of them."""
    await _roll(stage, 5)
    service = stage.service
    before = set(service.children)
    service.signal(signal.SIGHUP)

    async def are_replaced() -> bool:
        now = set(service.children)
        return not now & before and len(now) == service.workers

    if not await wait_until(are_replaced, 60):
        stage.breaches.append("SIGHUP did not replace the workers in 60 s")
    stage.notes.append("SIGHUP")


async def _is_in_rotation(stage: Stage, port: int) -> None:
    async def is_ready() -> bool:
        return stage.balancer is not None and port in stage.balancer.ready

    if not await wait_until(is_ready, 20):
        stage.breaches.append("a restarted server was not ready in 20 s")


async def race(stage: Stage) -> None:
    """Create the same city 32 times at once: one is created, the others are conflicts."""
    clients = [Client(stage.service.port) for _ in range(32)]
    for number in range(round(60 * stage.pace)):
        city: dict[str, Any] = {"name": f"City {number}", "population": number}
        asked = [client.ask("POST", "/cities", city) for client in clients]
        outcomes = [answer.outcome for answer in await asyncio.gather(*asked)]
        created = outcomes.count(Outcome.OK)
        refused = outcomes.count(Outcome.CONFLICT)
        stage.require(
            (created, refused) == (1, 31),
            f"{created} of 32 created the same city, {refused} were conflicts",
        )
    for client in clients:
        client.close()
