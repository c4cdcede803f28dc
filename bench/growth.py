"""Measure how Songbook bears growth: more songs, connections, workers and requests; its start."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from http.client import HTTPException
from itertools import chain
from pathlib import Path
from statistics import median

import load
from bulk import MEGABYTE, SHOWN, many
from contenders import SONGBOOK
from growth_lists import SIZES, measure_lists
from growth_load import Found, Tell, measure_connections, measure_half, serving
from measure import parser_of
from publish_growth import tables
from report import WIDTH, surroundings
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from scenarios import ANY, IDS, creating, filtered, listing, matching, missing, refused
from servers import START, Server, free_port, stop
from watch import memory

MANY = 100_000  # requests
STARTS = 5


def measure_start(options: Namespace, tell: Tell) -> Found:
    """Start the service with its own PostgreSQL, whose folder is not there, and then is."""
    taken: dict[str, list[tuple[float, float]]] = {"first ever": [], "data folder exists": []}
    with tempfile.TemporaryDirectory() as parent:
        Path(parent).chmod(0o755)  # PostgreSQL runs as another account when we are root
        for number in range(STARTS):
            for title, starts in taken.items():
                starts.append(started(options.project.resolve(), Path(parent, str(number))))
                tell(f"  {title}: {starts[-1][1]:.2f} s")
    rows = [
        {"title": title, "ping": median(pings), "songs": median(songs)}
        for title, starts in taken.items()
        for pings, songs in [zip(*starts, strict=True)]
    ]
    return {"rows": rows}


def started(project: Path, data: Path) -> tuple[float, float]:
    """Start the service; return the seconds until it answers a ping, and shows songs."""
    port = free_port()
    command = [str(port) if word == "PORT" else word for word in SONGBOOK.command]
    others = ("DATABASE_URL", "PG_")
    settings = {name: text for name, text in os.environ.items() if not name.startswith(others)}
    start = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=project,
        env=settings | {"POSTGRES_DATA": str(data)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    server = Server("songbook", process, port)
    try:
        ping, songs = (answered(server, path) - start for path in ("/ping", "/songs"))
    finally:
        stop(process)
    return ping, songs


def answered(server: Server, path: str) -> float:
    """Return when the server first answers this with 200."""
    deadline = time.perf_counter() + START
    while time.perf_counter() < deadline:
        try:
            if server.ask(load.Request("GET", path)).status == 200:
                return time.perf_counter()
        except (OSError, HTTPException):
            time.sleep(0.005)
    raise SystemExit(f"GET {path} is not answered {START} s after the start.")


def measure_memory(options: Namespace, tell: Tell) -> Found:
    """Read what a worker has in memory before, and after many requests of all kinds."""
    rows = []
    with serving(options.project.resolve(), 1) as [server]:
        asked, done = mixed(server), 0
        for goal in (0, MANY, 2 * MANY):
            while done < goal:
                tally = load.run(server.port, asked, 2)
                if tally.broken:
                    raise SystemExit(f"Not every request was answered: {tally}")
                done += tally.answered
            time.sleep(1)
            rss, pss = memory(server.process.pid) / MEGABYTE, server.memory() / MEGABYTE
            rows.append({"requests": done, "rss": rss, "pss": pss})
            tell(f"  after {done:,} requests: {rss:.0f} MB")
    return {"rows": rows}


def mixed(server: Server) -> list[load.Request]:
    """Return requests of all kinds, in turn; what is changed is not what is held by a tag."""
    same = matching(server).requests
    few = len(same)
    added, changed = creating()(server).requests[:few], ANY(server).requests[few : 2 * few]
    repeated = [ask(server).requests * few for ask in (listing, filtered, missing, refused)]
    ones = [load.Request("GET", f"/songs/{id_}") for id_ in IDS[:few]]
    return [*chain.from_iterable(zip(same, added, changed, ones, *repeated, strict=True))]


PARTS: dict[str, Callable[[Namespace, Tell], Found]] = {
    "start": measure_start,
    "memory": measure_memory,
    "half": measure_half,
    "connections": measure_connections,
    "lists": measure_lists,
}


def measure_all(options: Namespace) -> Found:
    """Measure the parts, one after the other."""
    found, names = {}, options.only or [*PARTS]
    with Progress(*SHOWN) as progress:
        task = progress.add_task("", total=len(names))
        tell = partial(progress.console.print, highlight=False, soft_wrap=True, markup=False)
        for name in names:
            progress.update(task, description=name)
            tell(name)
            start = time.monotonic()
            found[name] = PARTS[name](options, tell)
            found[name] |= {"date": surroundings()["date"], "took": round(time.monotonic() - start)}
            progress.advance(task)
    return found


def store(path: Path, parts: Found) -> None:
    """Store what was measured, and on what; other parts stay as they were."""
    before = json.loads(path.read_text(encoding="utf-8"))["parts"] if path.exists() else {}
    report = surroundings() | {"parts": before | parts}
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def show(parts: Found) -> None:
    """Print a table for each part."""
    console = Console(highlight=False)
    console.width = max(console.width, WIDTH)
    for name, (head, *rows) in tables(parts).items():
        table = Table(head[0], title=name)
        for column in head[1:]:
            table.add_column(column, justify="right")
        for row in rows:
            table.add_row(*row)
        console.print(table)


def arguments() -> Namespace:
    """Read the command line."""
    parser = parser_of(__doc__, PARTS, rounds=3)
    parser.add_argument("--rows", type=many, default=SIZES[-1], help="most songs in a table")
    parser.add_argument("--seconds", type=int, default=2, help="length of one measurement")
    return parser.parse_args()


def main() -> None:
    """Measure, show and store."""
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.path.insert(0, str(options.project.resolve()))
    show(parts := measure_all(options))
    if options.json:
        store(options.json, parts)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
