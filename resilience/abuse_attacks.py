"""Runs the attacks, each against a service that has done nothing else, and judges them."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from statistics import quantiles
from typing import Any, NamedTuple

import abuse_bystander
from abuse_bounds import Bounds
from abuse_http import ask, head
from abuse_service import Service
from attacks import MEGABYTE, Attack, Target, end

BURST = 1000.0  # megabytes
WARM_UP = 300  # requests, before the memory is looked at


class Result(NamedTuple):
    """What an attack did to others; `failures` says which promises it broke."""

    title: str
    asked: int
    answered: float
    """Percent of the bystander's requests that got their song in time."""
    p50: float
    """Milliseconds, of those that were answered."""
    p99: float
    growth: float
    """Megabytes of the service at most, less those before."""
    achieved: dict[str, int]
    failures: list[str]


async def run_attack(attack: Attack, service: Service, seconds: float, bounds: Bounds) -> Result:
    """Run one attack with its bystander."""
    await warm_up(service)
    before = service.memory()
    target = Target(service, seconds, bounds)
    async with bystander(service, seconds) as watched:
        await run_until_it_bursts(attack.run(target), service, before)
        found = await asyncio.wait_for(watched, seconds + 120)
    growth = (max(found["peak"], service.memory()) - before) / MEGABYTE
    result = result_of(attack, target, found, growth)
    after = await ask(service.port, head("GET", "/songs/1"))
    if after.status != 200:
        result.failures.append(f"the service answered {after.status} when the attack was over")
    return result


async def run_until_it_bursts(
    attack: Coroutine[Any, Any, None], service: Service, before: int
) -> None:
    """Run an attack; give up when the service has grown so much that the machine may suffer."""

    async def burst() -> None:
        while (service.memory() - before) / MEGABYTE < BURST:  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.1)

    tasks = [asyncio.ensure_future(each) for each in (attack, burst())]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await end(tasks)


async def warm_up(service: Service) -> None:
    """Have the service do a little of everything."""
    for number in range(WARM_UP):
        path = ("/songs/1", "/songs?limit=100", f"/songs/{number}")[number % 3]
        await ask(service.port, head("GET", path))


@asynccontextmanager
async def bystander(service: Service, seconds: float) -> AsyncIterator[asyncio.Future[Any]]:
    """Let a bystander ask meanwhile; the future that is lent has what it found."""
    words = [abuse_bystander.__file__, str(service.port), str(service.pid), str(seconds)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *words, stdout=asyncio.subprocess.PIPE
    )
    found: asyncio.Future[Any] = asyncio.ensure_future(output_of(process))
    try:
        yield found
    except BaseException:
        with suppress(ProcessLookupError):
            process.terminate()
        raise


async def output_of(process: asyncio.subprocess.Process) -> Any:
    """Return what a process prints, read as JSON."""
    output, _ = await process.communicate()
    return json.loads(output)


def result_of(attack: Attack, target: Target, found: Any, growth: float) -> Result:
    """Judge what the bystander and the attack found."""
    bounds = target.bounds
    latencies = [each for each in found["latencies"] if each <= bounds.patience]
    late = {"late": len(found["latencies"]) - len(latencies)}
    failed = {what: number for what, number in (found["failures"] | late).items() if number}
    asked = len(latencies) + sum(failed.values())
    share = 100 * len(latencies) / asked if asked else 0.0
    cuts = quantiles(latencies, n=100) if len(latencies) > 1 else [0.0] * 99
    p50, p99 = cuts[49] * 1000, cuts[98] * 1000
    failures = list(target.broken)
    if share < bounds.answered:
        others = ", ".join(f"{number} times {what}" for what, number in failed.items())
        failures.append(f"{share:.1f} % of the bystander's requests were answered ({others})")
    if p99 > bounds.p99:
        failures.append(f"the bystander's p99 was {p99:.0f} ms; {bounds.p99:.0f} are allowed")
    if growth > bounds.growth:
        failures.append(f"the service grew by {growth:.0f} MB; {bounds.growth:.0f} are allowed")
    achieved = {name: number for name, number in sorted(target.achieved.items()) if number}
    return Result(attack.title, asked, share, p50, p99, growth, achieved, failures)


def largest(project: Path, name: str) -> str:
    """Return the largest value of a setting, so that its bound is none. Raises SystemExit."""
    sys.path.insert(0, str(project))
    from app.settings import Settings  # noqa: PLC0415 - of the project that is abused

    field = Settings.model_fields.get(name.lower())
    bounds = [each.le for each in field.metadata if hasattr(each, "le")] if field else []
    if not bounds:
        raise SystemExit(f"{name} is no setting with an upper bound: see docs/settings.md.")
    return str(bounds[0])
