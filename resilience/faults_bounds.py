"""What the promises allow, and what a quick run allows: a slow machine alone must not fail that."""

from typing import NamedTuple


class Bounds(NamedTuple):
    """The bounds that a round judges by, in seconds."""

    longest: float = 10.0
    """A request for a row or a page, at most."""
    recovery: float = 2.0
    """From the end of a fault to the first acknowledged write, and to a /readyz that succeeds."""
    settled: float = 2.0
    """From the end of a fault, from which on no request may fail."""
    probe: float = 2.0
    """A liveness check, on a busy machine."""
    idle: float = 5.0
    """From the end of the load until no backend is busy."""


PROMISED = Bounds()
QUICK = Bounds(longest=60.0, recovery=60.0, settled=120.0, probe=30.0, idle=60.0)
