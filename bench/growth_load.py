"""What a server bears: more connections, more workers, and half of what it can do."""

import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from statistics import median

import load
from contenders import PRODUCTION, SONGBOOK
from database import UNDISTURBED, prepared
from psql import psql_of
from publish_growth import COMPARED, Found
from scenarios import creating, listing, reading
from servers import Server, running

WORKERS = (1, 2)
CONNECTIONS = (1, 4, 16, 64, 256)
HALF_SECONDS = 5
FEWEST, MOST = 5, 200  # requests on one connection
SPENT, PATIENCE = 2, 20  # seconds: for all of them, if they are not too slow; for one
WORKS = {"one row": reading, "list, 100 rows": listing, "create": creating()}

# wrk waits for whole milliseconds: the fraction decides how often it is one more.
HALF_SCRIPT = """
function delay()
  local pause = -%f * math.log(1 - math.random())
  return math.floor(pause + math.random())
end

function done(summary, latency)
  local errors = summary.errors
  local broken = errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format("\\n[%%f, %%d, %%f, %%f, %%f]\\n",
    summary.requests / summary.duration * 1e6, errors.status + broken,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency:percentile(99.9) / 1e3))
end
"""

Tell = Callable[[str], None]


@contextmanager
def serving(project: Path, *workers: int) -> Iterator[list[Server]]:
    """Run servers with so many workers on one database of songs."""
    with ExitStack() as stack:
        url = stack.enter_context(prepared(project))
        psql_of(url).run(UNDISTURBED)
        servers = []
        for number in workers:
            command = [*SONGBOOK.command[:-1], str(number)]
            server = running(
                f"{number} workers", command, project, {"DATABASE_URL": url, **PRODUCTION}
            )
            servers.append(stack.enter_context(server))
        yield servers


def measure_connections(options: Namespace, tell: Tell) -> Found:
    """Load servers of one and of two workers with more and more connections, taking turns."""
    taken: dict[tuple[str, int, int], list[Found]] = {}
    with serving(options.project.resolve(), *WORKERS) as servers:
        for server in servers:
            for ask in WORKS.values():
                loaded(server, ask(server).requests, load.CONNECTIONS, 1)
        for number in range(1, options.rounds + 1):
            for title, ask in WORKS.items():
                for connections in CONNECTIONS:
                    for workers, server in zip(WORKERS, servers, strict=True):
                        asked = ask(server).requests
                        sample = loaded(server, asked, connections, options.seconds)
                        taken.setdefault((title, workers, connections), []).append(sample)
                tell(f"  round {number}, {title}: {sample['rate']:,.0f}/s at last")
    rows: list[Found] = [
        {"title": title, "workers": workers, "connections": connections} | middle(samples)
        for (title, workers, connections), samples in taken.items()
    ]
    return {"rows": rows, "ratios": {title: ratios(rows, title) for title in WORKS}}


def loaded(server: Server, asked: list[load.Request], connections: int, seconds: int) -> Found:
    """Load one server for a while over so many connections."""
    before = server.cpu()
    tally = load.run(server.port, asked, seconds, connections)
    time.sleep(0.2)  # for the last requests; two workers are never as idle as settle() wants
    cpu = (server.cpu() - before) / 1000 / tally.sent
    failed = tally.refused + tally.broken
    rate = tally.answered / tally.seconds
    return {"rate": rate, "p99": tally.p99 * 1000, "cpu": cpu, "failed": failed}


def middle(samples: list[Found]) -> Found:
    """Take the medians of some rounds."""
    return {name: median(sample[name] for sample in samples) for name in samples[0]}


def ratios(rows: list[Found], title: str) -> Found:
    """Say how many times the rate of one worker two have: the best of each, and that at 64."""
    rates = {
        workers: {
            each["connections"]: each["rate"]
            for each in rows
            if (each["title"], each["workers"]) == (title, workers)
        }
        for workers in WORKERS
    }
    one, two = rates.values()
    return {"best": max(two.values()) / max(one.values()), "same": two[COMPARED] / one[COMPARED]}


def measure_half(options: Namespace, tell: Tell) -> Found:
    """Find the latencies at half of the rate that one worker reaches."""
    if load.generator() != "wrk":
        raise SystemExit("Half of a load takes wrk: the client in Python cannot pause.")
    rows = []
    with serving(options.project.resolve(), 1) as [server]:
        for title, ask in WORKS.items():
            asked = ask(server).requests
            loaded(server, asked, load.CONNECTIONS, 1)
            peak = loaded(server, asked, load.CONNECTIONS, 3)["rate"]
            pause = calibrated(server.port, asked, peak / 2)
            rounds = [paced(server.port, asked, pause, HALF_SECONDS) for _ in range(options.rounds)]
            rows.append({"title": title, "peak": peak, "offered": peak / 2, **middle(rounds)})
            tell(f"  {title}: {rows[-1]['rate']:,.0f} of {peak:,.0f}/s, p99 {rows[-1]['p99']:.1f}")
    return {"rows": rows}


def calibrated(port: int, asked: list[load.Request], rate: float) -> float:
    """Find the mean pause in milliseconds with which the connections ask at this rate."""
    wanted = load.CONNECTIONS / rate * 1000
    pause = wanted
    for _ in range(3):
        reached = load.CONNECTIONS / paced(port, asked, pause, 1)["rate"] * 1000
        pause = max(0.0, pause + wanted - reached)
    return pause


def paced(port: int, asked: list[load.Request], pause: float, seconds: int) -> Found:
    """Have wrk send requests, each connection pausing at random before its next."""
    script = HALF_SCRIPT % pause
    told = load.run_wrk(port, asked, seconds, load.CONNECTIONS, script)
    names = ("rate", "failed", "p50", "p99", "p999")
    return dict(zip(names, told, strict=True))


def latency(port: int, path: str) -> float | None:
    """Ask again and again on one connection; return the median in ms, None if it is given up."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
        first = ask(connection, path)  # is not counted: it prepares the statement
        if first is None:
            return None
        often = max(FEWEST, min(MOST, round(SPENT / first)))
        taken = [ask(connection, path) for _ in range(often)]
    times = [each for each in taken if each is not None]
    return median(times) * 1000 if len(times) == len(taken) else None


def compared(port: int, one: str, other: str) -> float:
    """Say how many times as long as the one the other takes, the two taking turns."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
        turns = [[ask(connection, path) or PATIENCE for path in (one, other)] for _ in range(MOST)]
    first, second = map(median, zip(*turns[FEWEST:], strict=True))
    return second / first


def ask(connection: HTTPConnection, path: str) -> float | None:
    """Return the seconds that an answer took; None if the service, or we, gave up."""
    start = time.perf_counter()
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
    except TimeoutError:
        connection.close()
        return None
    if answer.status == 503:
        return None
    if answer.status != 200:
        raise SystemExit(f"{path} was answered {answer.status}: {body!r}")
    return time.perf_counter() - start
