"""The contenders' processes: started on a free port, asked, measured, stopped by their pid."""

import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, NamedTuple

from load import Request

START = 30  # seconds until a server must answer
STOP = 10  # seconds until a server that was told to stop is killed


class Answer(NamedTuple):
    """One HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Read the body."""
        return json.loads(self.body)


class Server(NamedTuple):
    """A contender that is running."""

    name: str
    process: subprocess.Popen[bytes]
    port: int

    def ask(self, request: Request) -> Answer:
        """Send one request on a connection of its own."""
        headers = dict(request.headers)
        if request.body:
            headers["Content-Type"] = "application/json"
        connection = HTTPConnection("127.0.0.1", self.port, timeout=START)
        try:
            connection.request(request.method, request.path, request.body or None, headers)
            answer = connection.getresponse()
            names = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, names, answer.read())
        finally:
            connection.close()

    def cpu(self) -> int:
        """Read the nanoseconds of CPU it has used so far, user and system, children included."""
        return sum(map(cpu_of, family(self.process.pid)))

    def memory(self) -> int:
        """Read how many bytes it has in memory, children included."""
        return sum(map(memory_of, family(self.process.pid)))

    def settle(self) -> int:
        """Wait until it is idle, so that requests in flight are paid for, and read its CPU."""
        before, deadline = self.cpu(), time.monotonic() + STOP
        while time.monotonic() < deadline:
            time.sleep(0.2)
            after = self.cpu()
            if after - before < 500_000:
                return after
            before = after
        return before


def family(pid: int) -> Iterator[int]:
    """Give a process and its descendants."""
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from family(int(child))


def cpu_of(pid: int) -> int:
    """Read the CPU of a process from Linux's clock of it.

    The clock has nanoseconds where /proc/PID/stat has ticks of 10 ms, too coarse for a few
    hundred slow requests. Its number is what clock_getcpuclockid(3) answers.
    """
    return time.clock_gettime_ns((~pid << 3) | 2)


def memory_of(pid: int, field: str = "Pss", file: str = "smaps_rollup") -> int:
    """Read bytes that a process has in memory, from one of Linux's files on it (proc(5)).

    Of what it shares, `Pss` counts only its share.
    """
    lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


@contextmanager
def running(
    name: str, command: list[str], folder: Path, settings: dict[str, str]
) -> Iterator[Server]:
    """Run a server from a folder; `PORT` in its command becomes a free port."""
    port = free_port()
    arguments = [str(port) if word == "PORT" else word for word in command]
    with tempfile.TemporaryFile() as log:
        # In a session of its own, so that Ctrl-C reaches this script first.
        process = subprocess.Popen(
            arguments,
            cwd=folder,
            env=os.environ | settings,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        server = Server(name, process, port)
        try:
            if not answers(server):
                log.seek(0)
                tail = log.read().decode(errors="replace")[-3000:]
                raise SystemExit(f"{name} does not serve songs; its log ends:\n{tail}")
            yield server
        finally:
            stop(process)


def free_port() -> int:
    """Find a port of 127.0.0.1 that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(server: Server) -> bool:
    """Wait until the server shows the first song."""
    deadline = time.monotonic() + START
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            if server.ask(Request("GET", "/songs/1")).status == 200:
                return True
        except (OSError, HTTPException):
            pass
        time.sleep(0.1)
    return False


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a server by its pid: politely, then with everything it started."""
    process.terminate()
    try:
        process.wait(STOP)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(STOP)
