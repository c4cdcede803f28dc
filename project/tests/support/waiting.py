"""Waits for what happens elsewhere."""

import time
from collections.abc import Callable

PATIENCE = 120
"""Seconds after which what a test waits for is taken for lost, on however busy a machine."""


def wait_until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)
