"""Traces that a collector receives from a process that serves."""

import json
import signal
from collections.abc import Iterator, Mapping
from secrets import token_hex
from types import MappingProxyType
from typing import Any, NamedTuple

import httpx
import pytest
from sqlalchemy.engine import URL

from tests.support.collector import Collector, Span, collecting
from tests.support.databases import create_database, execute, spelled
from tests.support.marks import slow
from tests.support.services import SAMPLES

pytestmark = [pytest.mark.processes, slow]

SECRET = "hush4711"
PARENT = "b7ad6b7169203331"
SERVER, CLIENT = 2, 3
"""SpanKind of OTLP."""

BOOK = f'{{"name":"{SECRET}","author":"{SECRET}"}}'
TOWN = f'{{"name":"{SECRET}","population":1}}'
JSON, CSV = {"content-type": "application/json"}, {"content-type": "text/csv"}


class Request(NamedTuple):
    """A request, the status of its response, the name of its span, and those of its statements."""

    line: str
    status: int
    name: str
    statements: list[str]
    headers: Mapping[str, str] = MappingProxyType({})
    body: str = ""


REQUESTS = [
    Request("GET /books/1", 404, "GET /books/{id}", ["SELECT book"]),
    Request("POST /books", 201, "POST /books", ["INSERT book"], JSON, BOOK),
    Request("GET /books/1", 200, "GET /books/{id}", ["SELECT book"]),
    Request("PATCH /books/1", 200, "PATCH /books/{id}", ["UPDATE book"], JSON, BOOK),
    Request(f"GET /books?name={SECRET}&count=exact", 200, "GET /books", ["SELECT book"]),
    Request(f"GET /books?{SECRET}=1", 422, "GET /books", []),
    Request("GET /books/one", 422, "GET /books/{id}", []),
    Request("DELETE /books", 405, "DELETE /books", []),
    Request("GET /nowhere", 404, "GET", []),
    Request("GET /livez", 200, "", []),
    Request(
        "POST /books",
        201,
        "POST /books",
        ["BEGIN", "INSERT idempotency", "INSERT book", "UPDATE idempotency", "COMMIT"],
        {**JSON, "idempotency-key": SECRET},
        BOOK,
    ),
    Request(
        "POST /by-session",
        200,
        "POST /by-session",
        ["SAVEPOINT", "INSERT book", "RELEASE"],
        JSON,
        BOOK,
    ),
    Request(
        "POST /books",
        201,
        "POST /books",
        ["BEGIN", "COPY book", "COMMIT"],
        CSV,
        f"name,author\n{SECRET},{SECRET}\n",
    ),
    Request(
        f"GET /books?author={SECRET}",
        200,
        "GET /books",
        ["COPY book"],
        {"accept": "text/csv"},
    ),
    Request("POST /towns", 201, "POST /towns", ["INSERT towns"], JSON, TOWN),
    Request("POST /towns", 409, "POST /towns", ["INSERT towns"], JSON, TOWN),
    Request("GET /publishers/1", 404, "GET /publishers/{id}", ["SELECT publisher"]),
    Request("GET /novels?expand=town&sort=title", 200, "GET /novels", ["SELECT novel"]),
    Request("GET /novels/1?expand=town", 404, "GET /novels/{id}", ["SELECT novel"]),
    Request("DELETE /books/1", 204, "DELETE /books/{id}", ["DELETE book"]),
]


class Traces(NamedTuple):
    """The traces of the requests."""

    collector: Collector
    ids: list[str]
    """The ids of the traces, in the order of the requests."""

    database: str
    access_log: list[dict[str, Any]]

    def of(self, number: int) -> list[Span]:
        """Return the spans of a request, the server's first."""
        found = [span for span in self.collector.spans if span.trace_id == self.ids[number]]
        return sorted(found, key=lambda span: span.begun)


@pytest.fixture(scope="module")
def traces(server: URL, template: URL) -> Iterator[Traces]:
    """Give the traces of the requests, whose last spans a process sends when it ends."""
    url = server.set(database=f"traces_{token_hex(6)}")
    create_database(server, url.database, template.database)
    with collecting() as collector:
        ids = [token_hex(16) for _ in REQUESTS]
        variables = {"DATABASE_URL": spelled(url), "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        with SAMPLES.serving(**variables) as served:
            for request, trace_id in zip(REQUESTS, ids, strict=True):
                method, path = request.line.split()
                headers = {"traceparent": f"00-{trace_id}-{PARENT}-01", **request.headers}
                response = httpx.request(
                    method, served.address + path, headers=headers, content=request.body
                )
                assert response.status_code == request.status, response.text
            lines = served.end(signal.SIGTERM).printed.splitlines()
        yield Traces(collector, ids, url.database or "", list(map(json.loads, lines)))
    execute(server, f'DROP DATABASE "{url.database}" WITH (FORCE)')


@pytest.mark.parametrize(
    "number", range(len(REQUESTS)), ids=[f"{n} {each.line}" for n, each in enumerate(REQUESTS)]
)
def test_a_trace_has_the_span_of_a_request_and_in_it_those_of_its_statements(
    traces: Traces, number: int
) -> None:
    request, spans = REQUESTS[number], traces.of(number)
    if not request.name:
        assert spans == []
        return
    own, *statements = spans

    assert (own.name, own.kind, own.parent_id) == (request.name, SERVER, PARENT)
    assert own.attributes["http.response.status_code"] == request.status
    assert own.attributes.get("http.route", "") == request.name.partition(" ")[2]
    assert [span.name for span in statements] == request.statements
    for span in statements:
        operation, _, table = span.name.partition(" ")
        assert (span.kind, span.parent_id) == (CLIENT, own.span_id)
        assert span.attributes["db.system.name"] == "postgresql"
        assert span.attributes["db.namespace"] == traces.database
        assert span.attributes["db.operation.name"] == operation
        assert span.attributes.get("db.collection.name", "") == table
        assert operation in span.attributes["db.query.text"]
        assert span.is_error == (request.status == 409)
        assert span.attributes.get("db.response.status_code", "23505") == "23505"


def test_no_span_has_a_value_of_a_query_a_body_or_a_header(traces: Traces) -> None:
    assert "$1" in traces.of(2)[1].attributes["db.query.text"]
    assert [body for body in traces.collector.bodies if SECRET.encode() in body] == []


def test_a_trace_tells_what_sent_it(traces: Traces) -> None:
    for resource in traces.collector.resources:
        assert resource["service.name"] == "Samples"
        assert resource["deployment.environment.name"] == "dev"


def test_the_access_log_has_the_ids_of_the_traces(traces: Traces) -> None:
    found = [line["trace_id"] for line in traces.access_log if line["trace_id"] in traces.ids]
    assert found == traces.ids
