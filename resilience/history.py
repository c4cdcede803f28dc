"""A history of writes, checked against the stored rows, as Jepsen's `set` workload does.

Each create carries a name that no other one has. Its outcome is acknowledged, failed (a definite
answer: it did not happen) or unknown; an outcome that is uncertain is never counted as failed.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple


class Row(NamedTuple):
    """A stored row."""

    id: int
    name: str


class Verdict(NamedTuple):
    """Contradictions between a history and the stored rows, each a list of names."""

    lost: list[str]
    """Acknowledged, and not stored."""
    duplicate: list[str]
    """Stored more than once."""
    phantom: list[str]
    """Stored, and never asked for."""
    resurrected: list[str]
    """Stored, although the client was told that the request failed."""
    wrong_id: list[str]
    """Acknowledged with an id that is not the row's."""
    stale: list[str]
    """Not seen by a read that began after the acknowledgement."""
    lost_update: list[str]
    """Counters that are not the sum of their acknowledged increments."""


@dataclass
class Counting:
    """The increments of one row: each reads the number and writes the next one with If-Match."""

    acknowledged: list[int] = field(default_factory=list)
    """The numbers that were acknowledged."""
    unknown: int = 0

    def contradicts(self, stored: int) -> bool:
        """Return whether an acknowledged increment is missing from the number, or one too many."""
        least = len(self.acknowledged)
        is_repeated = len(set(self.acknowledged)) < least
        return is_repeated or not least <= stored <= least + self.unknown


class History:
    """The writes of one run, by names that begin with its own."""

    def __init__(self, run: str, counters: list[int]) -> None:
        self.run = run
        self.invoked: set[str] = set()
        self.acknowledged: dict[str, int] = {}
        self.failed: set[str] = set()
        self.stale: set[str] = set()
        self.counters = {each: Counting() for each in counters}

    def invoke(self) -> str:
        """Return the name of a new create."""
        name = f"{self.run}-{len(self.invoked)}"
        self.invoked.add(name)
        return name

    @property
    def unknown(self) -> set[str]:
        """The creates whose outcome is unknown."""
        return self.invoked - self.failed - self.acknowledged.keys()

    @property
    def writes(self) -> int:
        """The number of acknowledged creates and increments."""
        increments = sum(len(each.acknowledged) for each in self.counters.values())
        return len(self.acknowledged) + increments

    def check(self, rows: list[Row], counters: dict[int, int]) -> Verdict:
        """Compare with the stored rows and the stored numbers of the counters, which began at 0."""
        copies = Counter(row.name for row in rows)
        ids = {row.name: row.id for row in rows}
        return Verdict(
            lost=sorted(self.acknowledged.keys() - copies.keys()),
            duplicate=sorted(name for name, number in copies.items() if number > 1),
            phantom=sorted(copies.keys() - self.invoked),
            resurrected=sorted(self.failed & copies.keys()),
            wrong_id=sorted(
                name for name, told in self.acknowledged.items() if ids.get(name, told) != told
            ),
            stale=sorted(self.stale),
            lost_update=sorted(
                f"row {number}"
                for number, counting in self.counters.items()
                if counting.contradicts(counters[number])
            ),
        )
