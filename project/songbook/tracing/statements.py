"""The spans of statements (OpenTelemetry's semantic conventions for PostgreSQL)."""

import re
from collections.abc import Awaitable, Mapping
from functools import lru_cache
from typing import TypeVar

from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, get_current_span
from opentelemetry.util.types import AttributeValue
from sqlalchemy.engine import URL

T = TypeVar("T")

_MAX_TEXTS = 1000
_TABLE = r' "?+(\w++)"?+'
_CHANGES = {
    "COPY": re.compile(rf"\ACOPY{_TABLE} FROM"),
    "INSERT": re.compile(rf"\bINSERT INTO{_TABLE}"),
    "UPDATE": re.compile(rf"\bUPDATE{_TABLE} SET"),
    "DELETE": re.compile(rf"\bDELETE FROM{_TABLE}"),
}
_READ = re.compile(rf"\bFROM{_TABLE}")
_CTE = re.compile(r"\b(\w+) AS *\(")


class StatementTracer:
    """Makes the spans of the statements of a database, without any value.

    Only in a trace: statements of the service itself, as for readiness, have no spans.
    """

    def __init__(self, tracer: Tracer, url: URL) -> None:
        self._tracer = tracer
        self._common: dict[str, AttributeValue] = {"db.system.name": "postgresql"}
        if url.database:
            self._common["db.namespace"] = url.database
        if url.host:
            self._common |= {"server.address": url.host, "server.port": url.port or 5432}

    def trace(self, sql: str, running: Awaitable[T], batch_size: int = 1) -> Awaitable[T]:
        """Return `running` in the span of its statement, which answers `batch_size` requests."""
        return self._trace(sql, running, batch_size) if is_traced() else running

    async def _trace(self, sql: str, running: Awaitable[T], batch_size: int) -> T:
        span = self.start(sql, batch_size)
        try:
            return await running
        except BaseException as error:
            fail(span, error)
            raise
        finally:
            span.end()

    def start(self, sql: str, batch_size: int = 1) -> Span:
        """Start the span of a statement."""
        name, attributes = describe(sql)
        attributes = {**self._common, **attributes}
        if batch_size > 1:
            attributes["db.operation.batch.size"] = batch_size
        return self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes)


def is_traced() -> bool:
    """Return whether there is a span that is recorded."""
    return get_current_span().is_recording()


def fail(span: Span, error: BaseException) -> None:
    """Record the SQLSTATE or the type of an error; its message has values."""
    kind = f"{type(error).__module__}.{type(error).__qualname__}"
    if sqlstate := getattr(error, "sqlstate", None):
        span.set_attribute("db.response.status_code", sqlstate)
    span.set_attribute("error.type", sqlstate or kind)
    span.set_status(StatusCode.ERROR)


@lru_cache(_MAX_TEXTS)
def describe(sql: str) -> tuple[str, Mapping[str, AttributeValue]]:
    """Return the name of a span and its attributes: the operation, the table and the SQL."""
    operation, table = _operation(sql)
    attributes: dict[str, AttributeValue] = {"db.operation.name": operation, "db.query.text": sql}
    if table:
        attributes["db.collection.name"] = table
    return f"{operation} {table}".rstrip(), attributes


def _operation(sql: str) -> tuple[str, str]:
    """Return the operation of a statement, for a CTE that changes rows that change, and its table.

    Of the tables that are only read it is the one that is nested least.
    """
    for operation, pattern in _CHANGES.items():
        if found := pattern.search(sql):
            return operation, found[1]
    first = re.split(r"\W", sql, maxsplit=1)[0]
    others = set(_CTE.findall(sql))
    tables = [each for each in _READ.finditer(sql) if each[1] not in others]
    if not tables:
        return first, ""
    table = min(tables, key=lambda each: _depth(sql[: each.start()]))
    return first.replace("WITH", "SELECT"), table[1]


def _depth(text: str) -> int:
    return text.count("(") - text.count(")")
