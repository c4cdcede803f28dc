"""What the checks examine, and what they find."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from sqlalchemy import Connection, MetaData

from songbook.config import Settings
from songbook.models import Listed

OK, WARNING, FAILURE = "ok", "warning", "failure"


class Finding(NamedTuple):
    """The result of a check: one sentence, which says what to do unless the level is `ok`."""

    level: str
    message: str


class Subject(NamedTuple):
    """A service that is examined: its settings, its tables, and its resources with a list."""

    settings: Settings
    metadata: MetaData
    lists: list[Listed]

    @property
    def is_production(self) -> bool:
        """Return whether the settings are those of production."""
        return self.settings.environment == "prod"


Check = Callable[[Connection, Subject], Iterable[Finding]]
"""A check of the database, which may read only."""


def ok(message: str) -> Finding:
    """Return what is as it should be."""
    return Finding(OK, message)


def warning(message: str) -> Finding:
    """Return what works, but not well or not for long."""
    return Finding(WARNING, message)


def failure(message: str) -> Finding:
    """Return what does not work, or loses data."""
    return Finding(FAILURE, message)


def or_ok(problems: Iterable[Finding], message: str) -> list[Finding]:
    """Return the problems, or that all is well if there are none."""
    return [*problems] or [ok(message)]


def some(names: Iterable[object], most: int = 3) -> str:
    """Return the first names, separated by commas, and how many more there are."""
    texts = [str(name) for name in names]
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more
