"""The service in processes of its own: commands, and what serves."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from songbook.config import Settings
from tests.support.leaks import assert_discreet, lines_of
from tests.support.paths import PROJECT
from tests.support.waiting import PATIENCE


class Outcome(NamedTuple):
    """What a command answered: its exit code, what it printed, and the lines it told on stderr."""

    code: int
    printed: str
    told: list[str]


SECRET = "hush-4711"


NOWHERE = f"postgresql://me:{SECRET}@127.0.0.1:1/songbook"


class Service:
    """A process that serves, in a session of its own; it keeps the files with these numbers."""

    def __init__(
        self,
        *arguments: str,
        program: Sequence[str] = (sys.executable, "-m"),
        folder: Path | str = PROJECT,
        passed_files: str = "",
        **environment: str,
    ) -> None:
        self.begun = time.monotonic()
        ours = Settings.model_fields
        inherited = {name: text for name, text in os.environ.items() if name.lower() not in ours}
        self.process = subprocess.Popen(
            [*program, *arguments],
            cwd=folder,
            env={**inherited, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=[int(each) for each in passed_files.split()],
            start_new_session=True,
        )
        self.writes_json = "serve" in arguments and environment.get("LOG_FORMAT") != "console"
        self.address = ""

    def said(self) -> str:
        """Return the address that it says it is at, in its one line."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        found = re.fullmatch(
            r"\w+ is at (http://localhost:[1-9]\d*)(, its documentation at \1/docs)?\."
            r" Ctrl-C stops it\.\n",
            line,
        )
        return found[1] if found else pytest.fail(str(self.process.communicate()))

    def answers(self, address: str) -> float:
        """Wait for an answer at its address; return the seconds since its start."""
        self.address = address
        while not self.is_up():
            assert time.monotonic() < self.begun + PATIENCE, "waited in vain"
            time.sleep(0.01)
        return time.monotonic() - self.begun

    def is_up(self) -> bool:
        """Tell whether it answers by now; it must not have ended."""
        if self.process.poll() is not None:
            pytest.fail(str(self.process.communicate()))
        try:
            httpx.get(f"{self.address}/ping")
        except httpx.TransportError:
            return False
        return True

    def end(self, number: signal.Signals) -> "End":
        """Send a signal, to all of its processes when it is Ctrl-C; return how it ended."""
        begun = time.monotonic()
        if number == signal.SIGINT:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)
        printed, told = self.process.communicate(timeout=PATIENCE)
        self.check(printed, told)
        return End(self.process.returncode, printed, told, time.monotonic() - begun)

    def check(self, printed: str, told: str) -> None:
        """Check what it said until its end: what it may not tell, and the lines of its log."""
        assert_discreet(printed + told)
        if self.writes_json:
            lines_of(told)

    def is_gone(self) -> bool:
        """Tell whether no process of its session is left, the server's apart."""
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return True
        return False


class End(NamedTuple):
    """How a process ended."""

    code: int
    printed: str
    told: str
    seconds: float

    def lines(self) -> list[dict[str, Any]]:
        """Return the lines of its log."""
        return lines_of(self.told)


@contextmanager
def ended_at_last(service: Service) -> Iterator[None]:
    try:
        yield
    finally:
        if service.process.returncode is None:
            service.process.terminate()
            try:
                service.check(*service.process.communicate(timeout=PATIENCE))
            finally:
                if not service.is_gone():
                    os.killpg(service.process.pid, signal.SIGKILL)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
