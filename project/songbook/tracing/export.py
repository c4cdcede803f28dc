"""The export of traces by OpenTelemetry's SDK, which only a service that sends them has."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from threading import Thread

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

_FLUSH_SECONDS = 3.0
"""How long the end of a process waits for a collector; what it did not take is lost."""

_UNKNOWN = "unknown_service"
"""What the SDK calls a service without OTEL_SERVICE_NAME, and the name of the program."""


def create_provider(name: str, attributes: Mapping[str, str]) -> TracerProvider:
    """Return the provider of a service; the OTEL_* variables override its name and attributes."""
    detected = Resource.create()
    defaults = {**attributes, **detected.attributes}
    if str(defaults["service.name"]).startswith(_UNKNOWN):
        defaults["service.name"] = name
    provider = TracerProvider(resource=Resource(defaults), shutdown_on_exit=False)
    provider.add_span_processor(_Redaction())
    return provider


@asynccontextmanager
async def exporting(provider: trace.TracerProvider) -> AsyncIterator[None]:
    """Send spans to the collector of OTEL_EXPORTER_OTLP_ENDPOINT, the last ones at the end.

    The provider becomes the global one, for spans of the service's own.
    """
    assert isinstance(provider, TracerProvider), "create_provider made it"
    trace.set_tracer_provider(provider)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    try:
        yield
    finally:
        # A flush takes 10 s for each 512 spans if the collector does not respond. No executor: the
        # loop, and the interpreter, would wait for its thread.
        flush = Thread(target=provider.shutdown, daemon=True)
        flush.start()
        await asyncio.to_thread(flush.join, _FLUSH_SECONDS)


class _Redaction(SpanProcessor):
    """Replaces the query string, whose values are the client's."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Redact a span before it can be exported."""
        del parent_context
        if span.attributes and "url.query" in span.attributes:
            span.set_attribute("url.query", "REDACTED")
