"""What a server costs and bears while it works: its memory, and how long others wait for it."""

import math
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from threading import Event, Thread

from servers import Server, memory_of

BETWEEN_SAMPLES = 0.02
BETWEEN_PINGS = 0.01
PATIENCE = 60  # seconds until a ping counts as not answered


class Watch:
    """The most memory that a server had, in bytes, and the longest ping, in seconds."""

    def __init__(self, server: Server) -> None:
        self.peak = 0
        self.longest = 0.0
        self._server = server
        self._field = "VmHWM" if reset_peak(server.process.pid) else "VmRSS"
        self._is_over = Event()

    def sample(self) -> None:
        """Look at the memory until it is over."""
        is_last = False
        while not is_last:
            is_last = self._is_over.wait(BETWEEN_SAMPLES)
            self.peak = max(self.peak, memory(self._server.process.pid, self._field))

    def ping(self) -> None:
        """Ask over one connection, again and again, until it is over."""
        with closing(HTTPConnection("127.0.0.1", self._server.port, timeout=PATIENCE)) as asked:
            while not self._is_over.wait(BETWEEN_PINGS):
                start = time.perf_counter()
                try:
                    asked.request("GET", "/ping")
                    asked.getresponse().read()
                except (OSError, HTTPException):
                    self.longest = math.inf
                    return
                self.longest = max(self.longest, time.perf_counter() - start)

    def end(self) -> None:
        """Let both come to an end."""
        self._is_over.set()


@contextmanager
def watching(server: Server) -> Iterator[Watch]:
    """Watch a server from two threads; the figures are there when this ends."""
    watch = Watch(server)
    threads = [Thread(target=look) for look in (watch.sample, watch.ping)]
    for thread in threads:
        thread.start()
    try:
        yield watch
    finally:
        watch.end()
        for thread in threads:
            thread.join()


def memory(pid: int, field: str = "VmRSS") -> int:
    """Read how many bytes of a process are in memory, now or (VmHWM) at most."""
    return memory_of(pid, field, "status")


def reset_peak(pid: int) -> bool:
    """Make VmHWM begin anew; tell whether this kernel can."""
    try:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    except OSError:
        return False
    return True
