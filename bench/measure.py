"""Measure Songbook and its peers, side by side in one run, on one database."""

import os
import signal
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import load
from contenders import CONTENDERS, PRODUCTION, PROJECT, SONGBOOK, TUTORIAL, versions
from database import SONGS, prepared
from report import Finding, Sample, described, show, write
from scenarios import NOTES, SCENARIOS, Scenario, Work
from servers import Server, running

ALWAYS = (TUTORIAL.name, SONGBOOK.name)


@contextmanager
def contenders(names: Collection[str], project: Path) -> Iterator[list[Server]]:
    """Run all of them on one database, with pools of one size."""
    chosen = [each for each in CONTENDERS.values() if each.name in {*names, *ALWAYS}]
    with ExitStack() as stack:
        url = stack.enter_context(prepared(project))
        pool_size = os.environ.get("POOL_SIZE", "10")
        settings = {"DATABASE_URL": url, "POOL_SIZE": pool_size, **PRODUCTION}
        servers = []
        for each in chosen:
            if obstacle := each.obstacle():
                if each.name in ALWAYS:
                    raise SystemExit(obstacle)
                tell(obstacle)
                continue
            folder = project if each is SONGBOOK else each.folder
            server = running(each.name, each.command, folder, settings)
            servers.append(stack.enter_context(server))
        compare(servers)
        yield servers


def compare(servers: list[Server]) -> None:
    """Make sure that all serve the same songs."""
    for path in ("/songs", "/songs/1", f"/songs/{SONGS // 2}"):
        shown = {server.name: server.ask(load.Request("GET", path)).json() for server in servers}
        first = shown[TUTORIAL.name]
        songs = first if path == "/songs" else [first] * 100
        public = all(set(song) == {"id", "name", "artist", "year"} for song in songs)
        others = [name for name, answer in shown.items() if answer != first]
        if len(songs) != 100 or not public or others:
            told = "\n".join(f"{name}: {answer!s:.500}" for name, answer in shown.items())
            raise SystemExit(f"GET {path} is not what it should be, or differs:\n{told}")


def measure(scenario: Scenario, servers: list[Server], options: Namespace) -> Finding:
    """Measure one scenario, the contenders taking turns."""
    works = [(server, work) for server in servers if (work := scenario.work(server))]
    tell(f"{scenario.title}: {' / '.join(server.name for server, _ in works)}, CPU µs per request")
    for server, work in works:
        warm_up(server, work)
    samples: dict[str, list[Sample]] = {server.name: [] for server, _ in works}
    for number in range(1, options.rounds + 1):
        for server, work in works:
            samples[server.name].append(sample(server, work, options.seconds))
        works.append(works.pop(0))  # so that nobody always comes behind the same one
        told = " / ".join(f"{taken[-1].cpu:,.0f}" for taken in samples.values())
        tell(f"  round {number}: {told}")
    return Finding(scenario.title, scenario.floor, scenario.aim, scenario.held, samples)


def warm_up(server: Server, work: Work) -> None:
    """Check the status that the work gets, and have the server do it for a while."""
    answer = server.ask(work.requests[0])
    if answer.status not in work.statuses:
        raise SystemExit(
            f"{server.name}: {work.requests[0]} was answered {answer.status}: {answer.body!r}"
        )
    sample(server, work, 1)


def sample(server: Server, work: Work, seconds: int) -> Sample:
    """Load one server for a while."""
    before = server.cpu()
    tally = load.run(server.port, work.requests, seconds)
    spent = server.settle() - before
    refused = tally.answered if min(work.statuses) >= 400 else 0
    if not tally.answered or tally.broken or tally.refused != refused:
        raise SystemExit(f"{server.name}: not every answer was {work.statuses}: {tally}")
    cpu = spent / 1000 / tally.sent
    return Sample(cpu, tally.answered / tally.seconds, tally.p99 * 1000, server.memory() / 1e6)


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
    parser.add_argument("--check", action="store_true", help="fail below what is held")
    parser.add_argument("--seconds", type=bounded, default=2, help="length of one measurement")
    others = [name for name in CONTENDERS if name not in ALWAYS]
    parser.add_argument(
        "--peers", nargs="*", choices=others, default=others, help=f"beside the tutorial: {others}"
    )
    return parser.parse_args()


def parser_of(description: str | None, names: Collection[str], rounds: int) -> ArgumentParser:
    """Return what reads the options that all measurements have."""
    parser = ArgumentParser(description=description)
    parser.add_argument("--rounds", type=bounded, default=rounds, help="turns of each contender")
    parser.add_argument(
        "--only", action="append", choices=names, metavar="NAME", help=", ".join(names)
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="store the figures there too")
    parser.add_argument("--project", type=Path, default=PROJECT, metavar="DIR")
    return parser


def check(findings: Iterable[Finding]) -> None:
    """Exit with 1 if a ratio is below what is held of it."""
    lost = [
        f"{each.title}: {each.ratio:.2f} times the tutorial's CPU, held are {each.held:g}."
        for each in findings
        if each.ratio < each.held
    ]
    if lost:
        raise SystemExit("\n".join([*lost, "Something became slower: see bench/README.md."]))
    tell("Every ratio is held.")


def main() -> None:
    """Measure, show and store."""
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    findings = {}
    tell(f"preparing {SONGS:,} songs")
    with contenders(options.peers, options.project.resolve()) as servers:
        for name in options.only or SCENARIOS:
            findings[name] = measure(SCENARIOS[name], servers, options)
        is_whole = not options.only and len(servers) == len(CONTENDERS)
    about: dict[str, object] = {
        "songs": SONGS,
        "load": load.generator(),
        "connections": load.CONNECTIONS,
        "rounds": options.rounds,
        "seconds": options.seconds,
    }
    show(list(findings.values()), about, NOTES)
    if options.json:
        about |= {"is_whole": is_whole, "peers": versions()}
        write(options.json, {name: described(each) for name, each in findings.items()}, about)
    if options.check:
        check(findings.values())


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
