"""Checks of the round trip, the clocks and the time zone."""

import time
from collections.abc import Callable, Iterator

from sqlalchemy import Connection

from songbook.doctor.findings import Finding, Subject, failure, ok, warning

_ROUNDS = 5
_SLOW_SECONDS = 0.005
"""Every statement waits for a round trip; within a data centre it takes less than 1 ms."""

_MAX_DIFFERENCE = 5
_LARGE_DIFFERENCE = 1

_CLOCK = "SELECT extract(epoch FROM clock_timestamp())::float8"


def check_clock(
    connection: Connection, _subject: Subject, now: Callable[[], float] = time.time
) -> Iterator[Finding]:
    """Check the round trip and, halfway through the shortest, the clock of the database.

    `now` returns the time of this process, in seconds since 1970.
    """
    samples = []
    for _ in range(_ROUNDS):
        begun, sent = time.perf_counter(), now()
        stored = connection.exec_driver_sql(_CLOCK).scalar_one()
        seconds = time.perf_counter() - begun
        samples.append((seconds, sent + seconds / 2 - stored))
    seconds, ahead = min(samples)
    if seconds > _SLOW_SECONDS:
        yield warning(
            f"A round trip to the database takes {seconds * 1000:.1f} ms, which every request waits"
            " for: run the service next to it."
        )
    else:
        yield ok(f"The database responds within {seconds * 1000:.1f} ms.")
    text = f"The clock of this machine differs from the database's by {ahead:+.1f} s"
    advice = "synchronize both with NTP"
    if abs(ahead) > _MAX_DIFFERENCE:
        yield failure(f"{text}, so that times in logs and rows do not agree: {advice}.")
    elif abs(ahead) > _LARGE_DIFFERENCE:
        yield warning(f"{text}: {advice}.")
    else:
        yield ok(f"The clocks differ by {abs(ahead) * 1000:.0f} ms.")


def check_time_zone(connection: Connection, _subject: Subject) -> Iterator[Finding]:
    """Check that responses show times in UTC."""
    zone = connection.exec_driver_sql("SHOW TimeZone").scalar_one()
    if zone == "UTC":
        yield ok("Sessions have the time zone UTC.")
    else:
        yield failure(
            f"Sessions have the time zone {zone}, as a pooler in between ignores that of the"
            " service: run ALTER ROLE … SET TimeZone = 'UTC'."
        )
