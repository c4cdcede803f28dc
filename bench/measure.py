"""Measure Songbook against the tutorial's own handlers, side by side in one run."""

import os
import signal
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import load
from database import SONGS, prepared
from report import Finding, Sample, described, show, write
from scenarios import NOTES, SCENARIOS, Scenario, Work
from servers import Server, running

HERE = Path(__file__).resolve().parent
ADDRESS = ["--host", "127.0.0.1", "--port", "PORT"]
SONGBOOK = [sys.executable, "-m", "app", "serve", *ADDRESS, "--workers", "1"]
UVICORN = [sys.executable, "-m", "uvicorn", "--loop", "uvloop", "--http", "httptools"]
TUTORIAL = [*UVICORN, "--no-access-log", *ADDRESS, "tutorial:app"]


@contextmanager
def contenders(project: Path) -> Iterator[tuple[Server, Server]]:
    """Run both on one database, with pools of one size."""
    with prepared(project) as url:
        settings = {"DATABASE_URL": url, "POOL_SIZE": os.environ.get("POOL_SIZE", "10")}
        peer = running("tutorial", TUTORIAL, HERE / "peers", settings)
        ours = running("songbook", SONGBOOK, project, settings)
        with peer as tutorial, ours as songbook:
            compare(tutorial, songbook)
            yield tutorial, songbook


def compare(*servers: Server) -> None:
    """Make sure that both serve the same songs."""
    for path in ("/songs", "/songs/1", f"/songs/{SONGS // 2}"):
        first, second = (server.ask(load.Request("GET", path)).json() for server in servers)
        songs = first if path == "/songs" else [first] * 100
        public = all(set(song) == {"id", "name", "artist", "year"} for song in songs)
        if first != second or len(songs) != 100 or not public:
            raise SystemExit(f"GET {path} differs:\n{first!s:.500}\n{second!s:.500}")


def measure(scenario: Scenario, servers: tuple[Server, Server], options: Namespace) -> Finding:
    """Measure one scenario, the contenders taking turns."""
    tell(f"{scenario.title}: tutorial / Songbook, CPU µs per request")
    tutorial, songbook = servers
    theirs = ready(tutorial, scenario.tutorial(tutorial))
    ours = ready(songbook, scenario.songbook(songbook))
    finding = Finding(scenario.title, scenario.floor, scenario.aim, [], [])
    for number in range(1, options.rounds + 1):
        a = sample(tutorial, theirs, options.seconds)
        b = sample(songbook, ours, options.seconds)
        finding.tutorial.append(a)
        finding.songbook.append(b)
        tell(f"  round {number}: {a.cpu:,.0f} / {b.cpu:,.0f} = {a.cpu / b.cpu:.2f}")
    return finding


def ready(server: Server, work: Work) -> Work:
    """Check the status that the work gets, and warm the server up."""
    answer = server.ask(work.requests[0])
    if answer.status != work.status:
        raise SystemExit(
            f"{server.name}: {work.requests[0]} was answered {answer.status}: {answer.body!r}"
        )
    sample(server, work, 1)
    return work


def sample(server: Server, work: Work, seconds: int) -> Sample:
    """Load one server for a while."""
    before = server.cpu()
    tally = load.run(server.port, work.requests, seconds)
    spent = server.settle() - before
    refused = tally.answered if work.status >= 400 else 0
    if not tally.answered or tally.broken or tally.refused != refused:
        raise SystemExit(f"{server.name}: not every answer was {work.status}: {tally}")
    return Sample(spent / 1000 / tally.sent, tally.answered / tally.seconds)


def tell(line: str) -> None:
    """Show progress at once, into a file or pipe too."""
    print(line, flush=True)


def bounded(digits: str) -> int:
    """Read a number that keeps the run within reason."""
    number = int(digits)
    if not 1 <= number <= 60:
        raise ValueError
    return number


def arguments() -> Namespace:
    """Read the command line."""
    parser = parser_of(__doc__, SCENARIOS, rounds=5)
    parser.add_argument("--seconds", type=bounded, default=3, help="length of one measurement")
    return parser.parse_args()


def parser_of(description: str | None, names: Collection[str], rounds: int) -> ArgumentParser:
    """Return what reads the options that all measurements have."""
    parser = ArgumentParser(description=description)
    parser.add_argument("--rounds", type=bounded, default=rounds, help="turns of each contender")
    parser.add_argument(
        "--only", action="append", choices=names, metavar="NAME", help=", ".join(names)
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="store the figures there too")
    parser.add_argument("--project", type=Path, default=HERE.parent / "project", metavar="DIR")
    return parser


def main() -> None:
    """Measure, show and store."""
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    findings = {}
    tell(f"preparing {SONGS:,} songs")
    with contenders(options.project.resolve()) as servers:
        for name in options.only or SCENARIOS:
            findings[name] = measure(SCENARIOS[name], servers, options)
    about: dict[str, object] = {
        "songs": SONGS,
        "load": load.generator(),
        "connections": load.CONNECTIONS,
        "rounds": options.rounds,
        "seconds": options.seconds,
    }
    show(list(findings.values()), about, NOTES)
    if options.json:
        write(options.json, {name: described(each) for name, each in findings.items()}, about)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
