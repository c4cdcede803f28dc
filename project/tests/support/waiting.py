"""Waits for what happens elsewhere."""

import time
from collections.abc import Callable


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for a condition, for twenty seconds at most."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)
