"""A collector of traces: a server of OTLP/HTTP."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Status


class Span(NamedTuple):
    """A span that was received."""

    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    begun: int
    attributes: dict[str, Any]
    is_error: bool


class Collector(ThreadingHTTPServer):
    """Keeps what it receives."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spans: list[Span] = []
        self.resources: list[dict[str, Any]] = []
        self.bodies: list[bytes] = []

    @property
    def url(self) -> str:
        """Return its address."""
        return f"http://127.0.0.1:{self.server_port}"

    def receive(self, body: bytes) -> None:
        """Decode an export."""
        self.bodies.append(body)
        for part in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resources.append(values(part.resource.attributes))
            self.spans += [_read(span) for scope in part.scope_spans for span in scope.spans]


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        """Receive spans."""
        assert self.path == "/v1/traces"
        self.server.receive(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Be silent."""


def _read(span: Any) -> Span:
    return Span(
        span.name,
        span.kind,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.start_time_unix_nano,
        values(span.attributes),
        span.status.code == Status.STATUS_CODE_ERROR,
    )


def values(attributes: Any) -> dict[str, Any]:
    """Return attributes by name."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector."""
    with Collector() as collector:
        thread = Thread(target=collector.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield collector
        finally:
            collector.shutdown()
            thread.join()
