"""Plays a round: starts what it needs, loads it, lets the fault happen, and checks."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from uuid import uuid4

from balancer import Balancer
from cluster import Cluster, wait_until
from faults_bounds import Bounds
from faults_client import Outcome
from faults_load import COUNTER, Load, walk
from faults_pgbouncer import pgbouncer
from faults_report import Finding
from faults_rounds import ROUNDS, Round
from faults_service import Service, status_of
from faults_stage import Prober, Sabotage, Stage, background, check_backends, new_history
from history import Row, Verdict

SETTLED = 2.3  # seconds after the fault, at least, that the load goes on
UNREADY = 3.0  # seconds from the begin of a fault until /readyz must fail


async def play(
    cluster: Cluster, name: str, pace: float, bounds: Bounds, sabotage: Sabotage
) -> Finding:
    """Play a round: start what it needs, load it, let the fault happen, and check."""
    each = ROUNDS[name]
    history = await new_history(cluster, f"{name}-{uuid4().hex[:6]}")
    if sabotage.sql:
        await cluster.execute(sabotage.sql)
    await cluster.configure(**sabotage.cluster)
    async with AsyncExitStack() as stack:
        services = await stack.enter_async_context(started(cluster, each, sabotage))
        balancer, port = None, services[0].port
        if each.servers > 1:
            balancer = await balanced(services, sabotage)
            stack.push_async_callback(balancer.stop)
            port = await balancer.start()
            await wait_until_all_ready(balancer, services)
        load = Load(port, history, bounds.settled, keeps_keys=sabotage.keeps_keys)
        stage = Stage(cluster, services, load, history, pace, bounds, balancer)
        prober = Prober(services[0].port)
        async with background(prober.run()):
            await strike(stage, each, prober)
        verdict, unknown_stored = await check_history(stage)
        await check_backends(stage)
    await cluster.configure()
    check(stage, each, verdict)
    return finding_of(stage, each, prober, verdict, unknown_stored)


@asynccontextmanager
async def started(
    cluster: Cluster, each: Round, sabotage: Sabotage
) -> AsyncIterator[list[Service]]:
    """Run the services of a round, behind a PgBouncer if it asks for one."""
    async with AsyncExitStack() as stack:
        url = cluster.url()
        if each.behind_pgbouncer:
            folder = stack.enter_context(pgbouncer(cluster))
            url = f"{cluster.url(folder)}&prepared_statement_cache_size=0"
        log = Path(cluster.door.parent, f"{each.nemesis.__name__}.log")
        settings = {"DRAIN_SECONDS": "1", **sabotage.settings}
        services = [
            Service(cluster.project, url, log, each.workers, settings, sabotage.service)
            for _ in range(each.servers)
        ]
        for service in services:
            stack.callback(service.kill)
            service.start()
        for service in services:
            await service.answers()
        yield services
        for service in services:
            service.signal(signal.SIGTERM)
        for service in services:
            await service.ends()


async def balanced(services: list[Service], sabotage: Sabotage) -> Balancer:
    """Return a balancer before the services, which probes /ping if there is no /readyz."""
    has_readiness = await status_of(services[0].port, "/readyz") != 404
    probe = "/readyz" if has_readiness else "/ping"
    return Balancer([each.port for each in services], probe if sabotage.probes else None)


async def wait_until_all_ready(balancer: Balancer, services: list[Service]) -> None:
    """Wait until the balancer passes requests to all services."""

    async def are_ready() -> bool:
        return len(balancer.ready) == len(services)

    if not await wait_until(are_ready, 10):
        raise SystemExit("The balancer found no server ready.")


async def strike(stage: Stage, each: Round, prober: Prober) -> None:
    """Load the service, and let the fault happen meanwhile."""
    load = asyncio.create_task(stage.load.run(each.connections))
    async with background(load):
        await stage.hold(2)
        pids = [service.pid for service in stage.services]
        began = time.monotonic()
        await each.nemesis(stage)
        stage.load.heal()
        await asyncio.sleep(SETTLED + 1.7 * stage.pace)
        await recovers(stage, prober)
        stage.load.stop()
        await load
    if not each.is_killed:
        is_same = pids == [service.pid for service in stage.services if not service.has_ended()]
        stage.require(is_same, "the service did not survive")
        stage.require(not prober.dead, f"{prober.dead} liveness checks failed")
        slow = f"a liveness check took {prober.slowest:.2f} s"
        stage.require(prober.slowest <= stage.bounds.probe, slow)
    if prober.asks_readiness and not each.is_killed:
        check_readiness(stage, each, prober, began)


async def recovers(stage: Stage, prober: Prober) -> None:
    """Wait until a write is acknowledged and the service is ready, as long as that may take."""

    async def is_over() -> bool:
        return stage.load.recovery is not None and prober.is_ready

    await wait_until(is_over, stage.bounds.recovery)


def check_readiness(stage: Stage, each: Round, prober: Prober, began: float) -> None:
    """Note a breach if /readyz did not fail soon after the fault began, or is not back in time."""
    unready, ready = prober.became_unready, prober.became_ready
    if each.becomes_unready:
        is_soon = any(0 <= moment - began <= UNREADY for moment in unready)
        stage.require(is_soon, f"/readyz did not fail within {UNREADY:g} s of the fault")
    healed_at = stage.load.healed_at or 0
    is_late = any(moment - healed_at > stage.bounds.recovery for moment in ready)
    stage.require(len(unready) == len(ready) and not is_late, "/readyz did not recover in time")


async def check_history(stage: Stage) -> tuple[Verdict, int]:
    """Compare the history with the table; return the verdict, and how many unknown are stored."""
    stored = await stage.cluster.fetch("SELECT id, name, artist, year FROM song ORDER BY id")
    rows = [Row(row["id"], row["name"]) for row in stored if row["artist"] != COUNTER]
    numbers = {row["id"]: row["year"] - 1 for row in stored if row["artist"] == COUNTER}
    walked = await walk(stage.service.port)
    # an aborted request may still be under way
    later = {row for row in walked if row.name not in stage.history.acknowledged}
    missing = set(rows) - set(walked)
    extra = set(walked) - set(rows) - later
    is_once = len(walked) == len(set(walked))
    stage.require(not missing and not extra and is_once, "the pages of the list differ from SQL")
    names = {row.name for row in rows}
    return stage.history.check(rows, numbers), len(stage.history.unknown & names)


def check(stage: Stage, each: Round, verdict: Verdict) -> None:
    """Note what contradicts the promises."""
    load, bounds = stage.load, stage.bounds
    for kind, names in verdict._asdict().items():
        some = ", ".join(names[:3])
        stage.require(not names, f"{kind.replace('_', ' ')}: {len(names)} ({some})")
    stage.breaches += [f"{number} times: {breach}" for breach, number in load.breaches.items()]
    stage.require(load.longest <= bounds.longest, f"a request took {load.longest:.1f} s")
    if load.recovery is None:
        stage.breaches.append("no write was acknowledged after the fault")
    elif load.recovery > bounds.recovery:
        stage.breaches.append(f"the first write was acknowledged {load.recovery:.1f} s late")
    tracebacks = stage.service.log_text().count("Traceback")
    stage.require(not tracebacks, f"{tracebacks} tracebacks in the log of the service")
    late = f"{load.failed_late} requests failed later than {bounds.settled:g} s after the fault"
    stage.require(not load.failed_late, late)
    if stage.balancer:
        failures = ", ".join(f"{n} {cause}" for cause, n in stage.balancer.failures.items())
        stage.require(not failures, f"the balancer could not pass on: {failures}")
    if each.loses_none:
        failed = sum(load.outcomes[kind] for kind in (Outcome.FAILED, Outcome.UNKNOWN))
        failed += load.outcomes[Outcome.REFUSED]
        stage.require(not failed, f"{failed} of {load.requests:,} requests failed")


def finding_of(
    stage: Stage, each: Round, prober: Prober, verdict: Verdict, unknown_stored: int
) -> Finding:
    """Return what the round found."""
    load, history = stage.load, stage.history
    others = sum(map(len, verdict)) - len(verdict.lost) - len(verdict.duplicate)
    return Finding(
        title=each.title,
        requests=load.requests,
        acknowledged=history.writes,
        lost=len(verdict.lost),
        doubled=len(verdict.duplicate),
        contradictions=others,
        refused=load.outcomes[Outcome.FAILED] + load.outcomes[Outcome.REFUSED],
        unknown=len(history.unknown),
        unknown_stored=unknown_stored,
        replays=load.replays,
        recovery=load.recovery,
        longest=load.longest,
        slowest_probe=prober.slowest,
        notes=stage.notes,
        breaches=stage.breaches,
    )
