"""The spans and the time of the statements that SQLAlchemy runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from opentelemetry.trace import INVALID_SPAN, Span
from sqlalchemy import Connection, event

from songbook.db.timing import Timing
from songbook.tracing import StatementTracer, fail, is_traced


class _Observer:
    """Observes the statements of one connection, which runs one at a time."""

    def __init__(self, tracer: StatementTracer | None, timing: Timing | None) -> None:
        self._tracer, self._timing = tracer, timing
        self._span: Span = INVALID_SPAN
        self._begun = 0.0

    def begin(self, _connection: Connection, _cursor: Any, sql: str, *_: Any) -> None:
        """Begin a statement; the one before failed if it did not end."""
        self._span.end()
        self._begun = perf_counter()
        if self._tracer and is_traced():
            self._span = self._tracer.start(sql)

    def end(self, *_: Any) -> None:
        """End the statement."""
        self._span.end()
        self._span = INVALID_SPAN
        if self._timing:
            self._timing.statements += perf_counter() - self._begun

    def fail(self, error: BaseException) -> None:
        """End the statement with an error, which may be SQLAlchemy's."""
        fail(self._span, getattr(error, "orig", None) or error)
        self._span.end()


@contextmanager
def observing(
    connection: Connection, tracer: StatementTracer | None, timing: Timing | None
) -> Iterator[None]:
    """Observe the statements of a connection; only an engine has an event for errors."""
    observer = _Observer(tracer, timing)
    event.listen(connection, "before_cursor_execute", observer.begin)
    event.listen(connection, "after_cursor_execute", observer.end)
    try:
        yield
    except BaseException as error:
        observer.fail(error)
        raise
