"""What the promises allow, and what a quick run allows: a slow machine alone must not fail that."""

from typing import NamedTuple


class Bounds(NamedTuple):
    """The bounds that a run judges by."""

    patience: float = 2.0
    """Seconds within which a request must be answered, and what nobody wants any more must end."""
    at_once: float = 0.2
    """Seconds, the best of five, within which what needs no body is answered."""
    answered: float = 99.0
    """Percent of the requests of others that must be answered in time, at least."""
    p99: float = 500.0
    """Milliseconds of a bystander's request, at most."""
    growth: float = 50.0
    """Megabytes of the service, at most."""


PROMISED = Bounds()
QUICK = Bounds(patience=20.0, at_once=5.0, answered=50.0, p99=20_000.0)
