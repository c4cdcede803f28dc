"""The service that is abused, and its PostgreSQL: started for the run, looked into, stopped."""

import os
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).resolve().parent.parent / "project"
PASSWORD = "hush-4711-Canary"
CANARY = "canary7731"  # in bad values, so that they are recognised in answers and in the log
DESCRIPTORS = 1024  # what a process may have open on most systems, until it raises the limit
START, STOP = 120, 3  # seconds
LEAKS = re.compile(rf"Traceback|{CANARY}|{PASSWORD}|was never awaited", re.IGNORECASE)


class Service(NamedTuple):
    """A service that runs."""

    pid: int
    port: int
    url: str

    def memory(self) -> int:
        """Return the bytes that it has in memory, children included."""
        return sum(map(resident, family(self.pid)))


def family(pid: int) -> Iterator[int]:
    """Give a process and its descendants."""
    yield pid
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from family(int(child))


def resident(pid: int) -> int:
    """Read VmRSS (proc(5)), in bytes; nothing of a process that ended."""
    with suppress(OSError):
        if found := re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()):
            return int(found[1]) * 1024
    return 0


@contextmanager
def cluster(project: Path) -> Iterator[str]:
    """Lend the URL of a migrated database, on an embedded PostgreSQL of this run only."""
    sys.path.insert(0, str(project))
    embedded = import_module("songbook.db.embedded")
    with tempfile.TemporaryDirectory() as parent:
        Path(parent).chmod(0o755)  # PostgreSQL runs as another account when we are root
        folder = Path(parent, "postgres")
        try:
            url = embedded.attach(folder)
            command(project, url, "migrate")
            yield url
        finally:
            embedded.detach(folder)


def environment(**settings: str) -> dict[str, str]:
    """Return the environment of a process of the service: nobody's own settings reach it."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return inherited | {"ENV_FILE": "/dev/null"} | settings


def command(project: Path, url: str, *words: str, given: str = "") -> None:
    """Run a command of the service."""
    done = subprocess.run(
        [sys.executable, "-m", "app", *words],
        cwd=project,
        env=environment(DATABASE_URL=url),
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"`python -m app {words[0]}` failed:\n{done.stderr[-3000:]}")


@contextmanager
def serving(project: Path, url: str, log: Path, settings: dict[str, str]) -> Iterator[Service]:
    """Run the service as `python -m app serve` does; what it logs is appended to a file."""
    port = free_port()
    words = ["serve", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    with log.open("ab") as output:
        # In a session of its own, so that Ctrl-C reaches this script first.
        process = subprocess.Popen(
            [sys.executable, "-m", "app", *words],
            cwd=project,
            env=environment(DATABASE_URL=url, DRAIN_SECONDS="0", **settings),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    try:
        wait_until_served(process, port, log)
        yield Service(process.pid, port, url)
        if process.poll() is not None:
            raise SystemExit(f"The service ended by itself; its log ends:\n{tail(log)}")
    finally:
        stop(process)


def free_port() -> int:
    """Find a port of 127.0.0.1 that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_served(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    """Return when the port answers."""
    deadline = time.monotonic() + START
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise SystemExit(f"The service does not serve; its log ends:\n{tail(log)}")


def tail(log: Path) -> str:
    """Return the end of a log."""
    return log.read_text(encoding="utf-8", errors="replace")[-3000:]


def leaks(log: Path) -> list[str]:
    """Return what a log should not hold: tracebacks, passwords, values of clients."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return [f"in the log: {line[:200]}" for line in lines if LEAKS.search(line)][:10]


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End the service by its pid: politely, then with everything it started."""
    process.terminate()
    try:
        process.wait(STOP)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
