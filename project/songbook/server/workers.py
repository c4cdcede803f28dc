"""Several worker processes that share the listeners.

SIGTERM drains all of them. SIGHUP replaces them one after the other: as soon as a new one serves,
an old one accepts no more connections and completes its responses.
"""

import logging
import os
import signal
import time
from contextlib import suppress
from multiprocessing.connection import wait
from socket import socket

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from songbook.config import CommandError
from songbook.logs import Event
from songbook.server.server import Server
from songbook.server.systemd import notify

_MAX_QUICK_DEATHS = 10
_MAX_PAUSE_SECONDS = 1.0
START_SECONDS = 30
"""Seconds that a worker has until it serves; one that lives for less has died quickly."""

_logger = logging.getLogger("uvicorn.error")


class Worker(Process):
    """A worker process; `quick_deaths` of its predecessors in a row have died quickly."""

    def __init__(
        self,
        config: uvicorn.Config,
        sockets: list[socket],
        drain_seconds: float,
        quick_deaths: int = 0,
    ) -> None:
        super().__init__(config, sockets)
        self.quick_deaths = quick_deaths
        pause = min(_MAX_PAUSE_SECONDS, 0.05 * 2**quick_deaths) if quick_deaths else 0.0
        self.starts_at = time.monotonic() + pause
        self._drain_seconds = drain_seconds
        self._parent = os.getpid()

    @property
    def server(self) -> Server:
        """The server, in the process of the worker."""
        if not isinstance(self._server, Server):
            self._server = Server(self.config, self._drain_seconds, self._parent)
        return self._server

    def start_when_due(self) -> bool:
        """Start the process after the pause; return whether it was started."""
        if self.pid is None and time.monotonic() >= self.starts_at:
            self.start()
        return self.pid is not None

    @property
    def age(self) -> float:
        """The seconds since its start."""
        return time.monotonic() - self.starts_at

    def has_started(self, timeout: float) -> bool | None:
        """Return whether the worker serves, None if it has ended or does not respond in time."""
        with suppress(OSError, EOFError):
            self.parent_conn.send(b"ping")
            # the pipe alone would not tell that the process has ended: we have both ends
            if self.parent_conn in wait([self.parent_conn, self.process.sentinel], timeout):
                return bool(self.parent_conn.recv())
        return None

    def send(self, number: signal.Signals) -> None:
        """Send a signal unless the process is not running."""
        if self.pid is not None and self.process.is_alive():
            os.kill(self.pid, number)


class Workers(Multiprocess):
    """Keeps workers running, replaces and stops them."""

    processes: list[Worker]  # type: ignore[assignment]

    def __init__(self, config: uvicorn.Config, sockets: list[socket], drain_seconds: float) -> None:
        super().__init__(config, sockets)
        self._drain_seconds = drain_seconds
        self._outdated: list[Worker] = []
        """The workers that are still to be replaced since SIGHUP."""
        self._successor: Worker | None = None
        """The worker that is starting in the place of the first outdated one."""
        self._leaving: list[Worker] = []
        """The workers that were replaced, and complete their responses."""
        self._is_hurried = False
        self._is_ready = False
        self._failure = ""

    def run(self) -> None:
        """Serve until a signal. Raises CommandError if workers cannot be kept running."""
        super().run()
        if self._failure:
            raise CommandError(self._failure)

    def _new(self, quick_deaths: int = 0) -> Worker:
        return Worker(self.config, self.sockets, self._drain_seconds, quick_deaths)

    def init_processes(self) -> None:
        """Start the workers."""
        self.processes = [self._new() for _ in range(self.processes_num)]
        for worker in self.processes:
            worker.start()

    def keep_subprocess_alive(self) -> None:
        """Start workers in the place of those that died, and of outdated ones."""
        timeout = self.config.timeout_worker_healthcheck
        started = 0
        for index, worker in enumerate(self.processes):
            if self.should_exit.is_set():
                return
            is_started = worker.start_when_due() and worker.has_started(timeout)
            started += bool(is_started)
            if is_started is None:
                self._restart(index, worker)
        self._report(started)
        self._replace_outdated(timeout)
        self._leaving = [each for each in self._leaving if each.process.is_alive()]

    def _report(self, started: int) -> None:
        """Tell systemd once that all workers serve."""
        if not self._is_ready and started == len(self.processes):
            self._is_ready = True
            notify("READY=1")

    def _restart(self, index: int, worker: Worker) -> None:
        """Replace a worker that died, or end the service."""
        worker.kill()  # it may hang
        worker.join()
        deaths = worker.quick_deaths + 1 if worker.age < START_SECONDS else 0
        if worker.exitcode == STARTUP_FAILURE:
            self._fail("a worker could not start: see the error above.")
        elif deaths == _MAX_QUICK_DEATHS:
            self._fail(f"a worker died {deaths} times in a row after its start.")
        else:
            died = Event("Worker died, another starts", pid=worker.pid, exit_code=worker.exitcode)
            _logger.warning(died)
            self.processes[index] = self._new(deaths)

    def _fail(self, reason: str) -> None:
        self._failure = reason
        self.should_exit.set()

    def restart_all(self) -> None:
        """Replace the present workers one after the other."""
        self._outdated = list(self.processes)

    def _replace_outdated(self, timeout: float) -> None:
        """Start the next successor, or put it in the place of its predecessor once it serves."""
        self._outdated = [each for each in self._outdated if each in self.processes]
        successor = self._successor
        if successor is None:
            if self._outdated:
                self._successor = self._new()
                self._successor.start()
        elif successor.has_started(timeout):
            self._successor = None
            self.processes.append(successor)
            self._retire(self._outdated[0] if self._outdated else successor)
        elif not successor.process.is_alive() or successor.age > START_SECONDS:
            successor.kill()
            _logger.error(Event("The new worker does not start, the present ones stay"))
            self._outdated, self._successor = [], None

    def _retire(self, worker: Worker) -> None:
        self.processes.remove(worker)
        self._leaving.append(worker)
        worker.send(signal.SIGHUP)

    def handle_int(self) -> None:
        """Stop without a drain."""
        self._is_hurried = True
        super().handle_int()

    def handle_term(self) -> None:
        """Stop; the second time without a drain."""
        self._is_hurried = self.should_exit.is_set()
        super().handle_term()

    def handle_ttin(self) -> None:
        """Add a worker."""
        self.processes.append(self._new())

    def handle_ttou(self) -> None:
        """Remove a worker unless it is the last one."""
        if len(self.processes) > 1:
            self._retire(self.processes[-1])

    def terminate_all(self) -> None:
        """Close the listeners, and drain the workers.

        Our copy first: the kernel would accept connections for it when the workers have closed
        theirs.
        """
        notify("STOPPING=1")
        for each in self.sockets:
            each.close()
        for worker in (*self.processes, *([self._successor] if self._successor else ())):
            worker.send(signal.SIGTERM)

    def join_all(self) -> None:
        """Wait for the workers; SIGINT or a second signal ends their drain."""
        workers = [*self.processes, *self._leaving]
        workers += [self._successor] if self._successor else []
        while any(each.process.is_alive() for each in workers if each.pid is not None):
            time.sleep(0.1)
            self.handle_signals()
            if self._is_hurried:
                self._is_hurried = False  # until another signal
                for worker in workers:
                    worker.send(signal.SIGTERM)
