"""The least rate of a transfer."""

BULK_BYTES_PER_SECOND = 1024
"""The least rate of imports and of responses that are being read."""


class Pace:
    """A deadline that moves with what is transferred: a least rate, with a grace period.

    What comes faster earns time, up to `most` seconds in which nothing has to come.
    """

    __slots__ = ("_most", "_rate", "deadline")

    def __init__(self, now: float, seconds: float, rate: float, *, most: float) -> None:
        self.deadline = now + seconds
        self._rate = rate
        self._most = most

    def advance(self, now: float, transferred: int, *, paused: float = 0.0) -> bool:
        """Count bytes and seconds in which the other side could not go on; False if too slow."""
        later = self.deadline + transferred / self._rate + paused
        self.deadline = min(later, now + self._most)
        return self.deadline > now
