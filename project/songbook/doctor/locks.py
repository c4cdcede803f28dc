"""The check of sessions that others wait for."""

from collections.abc import Iterator

from sqlalchemy import Connection

from songbook.doctor.findings import Finding, Subject, or_ok, warning

_BLOCKING = """
SELECT blocking.pid, blocking.state, blocking.application_name AS name,
       extract(epoch FROM clock_timestamp() - blocking.xact_start)::integer AS seconds,
       count(*) AS number
FROM pg_stat_activity AS waiting
CROSS JOIN LATERAL unnest(pg_blocking_pids(waiting.pid)) AS blocker (pid)
JOIN pg_stat_activity AS blocking ON blocking.pid = blocker.pid
WHERE waiting.datname = current_database() AND waiting.wait_event_type = 'Lock'
  AND waiting.query_start < clock_timestamp() - interval '0.5 s'
  AND cardinality(pg_blocking_pids(blocking.pid)) = 0
GROUP BY 1, 2, 3, 4 ORDER BY number DESC LIMIT 3
"""


def check_locks(connection: Connection, _subject: Subject) -> list[Finding]:
    """Check that no session holds a lock that others wait for, without waiting itself."""
    return or_ok(_blocking(connection), "No session waits for a lock.")


def _blocking(connection: Connection) -> Iterator[Finding]:
    for each in connection.exec_driver_sql(_BLOCKING):
        sessions = "1 session waits" if each.number == 1 else f"{each.number} sessions wait"
        name = f" of {each.name}" if each.name else ""
        since = "" if each.seconds is None else f", begun {each.seconds} s ago"
        yield warning(
            f"{sessions} for a lock of the transaction{name} with pid {each.pid}"
            f" ({each.state or 'of another role'}{since}): wait for its end, or run SELECT"
            f" pg_terminate_backend({each.pid})."
        )
