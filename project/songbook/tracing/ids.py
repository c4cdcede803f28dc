"""The ids of traces (W3C Trace Context)."""

import re

from opentelemetry.trace import format_span_id, format_trace_id, get_current_span

_TRACEPARENT = re.compile(
    rb"(?:00(?=.{53}\Z)|(?!00|ff)[0-9a-f]{2})"  # what version 00 has after the flags is an error
    rb"-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?"
)


def trace_ids() -> dict[str, str]:
    """Return `trace_id` and `span_id` of the current span in hexadecimal, nothing without one."""
    context = get_current_span().get_span_context()
    if not context.is_valid:
        return {}
    return {
        "trace_id": format_trace_id(context.trace_id),
        "span_id": format_span_id(context.span_id),
    }


def parse_traceparent(value: bytes) -> str:
    """Return the trace id of a `traceparent` header, an empty text if it is not valid."""
    found = _TRACEPARENT.fullmatch(value)
    return found[1].decode() if found else ""
