"""The service under test: the real command in a process of its own, killed and started again."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from abuse_service import free_port
from cluster import children_of, send

START = 120  # seconds until it must answer
STOP = 120  # seconds until it must have ended: it waits 20 for requests, after the drain


class Service:
    """One server process, with its workers."""

    def __init__(
        self,
        project: Path,
        url: str,
        log: Path,
        workers: int,
        settings: dict[str, str],
        sabotage: str,
    ) -> None:
        self._project = project
        self.port = free_port()
        self.workers = workers
        self.log = log
        self._settings = {
            "DATABASE_URL": url,
            "PORT": str(self.port),
            "WORKERS": str(workers),
            "LOG_LEVEL": "WARNING",
            "ENV_FILE": "/dev/null",
            **settings,
        }
        self._sabotage = sabotage
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id of the server, the parent of its workers."""
        assert self._process
        return self._process.pid

    @property
    def children(self) -> list[int]:
        """The process ids of the workers."""
        return [pid for pid in children_of(self.pid) if b"spawn_main" in command_of(pid)]

    def start(self) -> None:
        """Start it; it may not answer yet."""
        program = Path(__file__).with_name("faults_sabotage.py")
        command = [str(program), self._sabotage] if self._sabotage else ["-m", "app"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *command, "serve"],
                cwd=self._project,
                env=os.environ | self._settings,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # so that Ctrl-C reaches the script first
            )

    async def answers(self, path: str = "/ping") -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + START
        while await status_of(self.port, path) != 200:
            if self.has_ended() or time.monotonic() > deadline:
                raise SystemExit(f"The service does not answer:\n{self.log_text()[-3000:]}")
            await asyncio.sleep(0.05)

    def has_ended(self) -> bool:
        """Return whether the process has ended."""
        return self._process is None or self._process.poll() is not None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server process."""
        assert self._process
        self._process.send_signal(number)

    async def ends(self) -> None:
        """Wait for the end of the process; kill what is left of it."""
        process = self._process
        assert process
        try:
            await asyncio.to_thread(process.wait, STOP)
        finally:
            self.kill()

    def kill(self) -> None:
        """Kill it with its workers."""
        if self._process is None:
            return
        workers = self.children if self._process.poll() is None else []
        send(signal.SIGKILL, [self._process.pid] if self._process.poll() is None else [])
        send(signal.SIGKILL, workers)
        self._process.wait(STOP)
        self._process = None

    def log_text(self) -> str:
        """Return its log."""
        return self.log.read_text(errors="replace")


def command_of(pid: int) -> bytes:
    """Return the command line of a process, empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


async def status_of(port: int, path: str, seconds: float = 10.0) -> int:
    """Return the status of a GET on a connection of its own, 0 without an answer in time."""
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                writer.write(head.encode())
                line = await reader.readline()
                return int(line[9:12] or 0)
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return 0
