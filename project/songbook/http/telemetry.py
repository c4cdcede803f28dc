"""FastAPI's telemetry: the spans of requests."""

from collections.abc import MutableMapping
from typing import Any

from fastapi.telemetry import TelemetryConfig
from opentelemetry.trace import format_trace_id, get_current_span
from starlette.types import Scope

from songbook.http.compat import TELEMETRY, get_route_path
from songbook.http.state import ServiceState
from songbook.tracing import parse_traceparent


def telemetry_config(service: ServiceState) -> TelemetryConfig:
    """Return the configuration for a span of each request, if the service has a provider.

    Without one all is off: FastAPI would look for global providers at each request, which takes
    3.4 µs. Its logs are off because they have the messages of exceptions, with their values.
    """
    provider = service.tracer_provider

    def is_untraced(scope: MutableMapping[str, Any]) -> bool:
        return get_route_path(scope).rstrip("/") in service.untraced

    return {
        "tracer_provider": provider,
        "tracing": provider is not None,
        "metrics": False,
        "logs": False,
        "operation_spans": False,  # handlers are called directly, without these operations
        "auto_configure": False,
        "exclude": is_untraced,
    }


def trace_id(scope: Scope) -> str:
    """Return the trace id of a request, from its span or `traceparent`, else an empty text.

    Call it while the request is served.
    """
    if scope.get(TELEMETRY) is not None:
        return format_trace_id(get_current_span().get_span_context().trace_id)
    for name, value in scope["headers"]:
        if name == b"traceparent":
            return parse_traceparent(value)
    return ""
