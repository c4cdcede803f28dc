"""The time of a request, and of its statements."""

from collections.abc import Awaitable
from dataclasses import dataclass, field
from time import perf_counter
from typing import TypeVar

T = TypeVar("T")


@dataclass
class Timing:
    """The time of one request, and of its statements, in seconds."""

    statements: float = 0.0
    begun: float = field(default_factory=perf_counter)

    async def measure(self, running: Awaitable[T]) -> T:
        """Wait for a statement; add its time."""
        begun = perf_counter()
        try:
            return await running
        finally:
            self.statements += perf_counter() - begun

    def header(self) -> bytes:
        """Return the value of Server-Timing, in milliseconds (W3C Server Timing)."""
        total = perf_counter() - self.begun
        return f"db;dur={self.statements * 1000:.1f}, total;dur={total * 1000:.1f}".encode()
