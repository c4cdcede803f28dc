"""The ids of traces for the log."""

import pytest
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, use_span

from songbook.tracing import parse_traceparent, trace_ids

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (f"00-{TRACE}-{SPAN}-01", TRACE),
        (f"00-{TRACE}-{SPAN}-00", TRACE),
        (f"cc-{TRACE}-{SPAN}-01", TRACE),
        (f"cc-{TRACE}-{SPAN}-01-what-will-be", TRACE),
        (f"cc-{TRACE}-{SPAN}-01.what-will-be", ""),
        (f"00-{TRACE}-{SPAN}-01-", ""),
        (f"ff-{TRACE}-{SPAN}-01", ""),
        (f"00-{TRACE.upper()}-{SPAN}-01", ""),
        (f"00-{'0' * 32}-{SPAN}-01", ""),
        (f"00-{TRACE}-{'0' * 16}-01", ""),
        (f"00-{TRACE}-{SPAN}", ""),
        (f"00-{TRACE}-{SPAN}-01\n", ""),
        ("", ""),
    ],
)
def test_a_trace_id_is_that_of_a_valid_traceparent(value: str, expected: str) -> None:
    """https://www.w3.org/TR/trace-context/#versioning-of-traceparent."""
    assert parse_traceparent(value.encode()) == expected


def test_the_log_has_the_ids_of_the_current_span_if_there_is_one() -> None:
    span = SpanContext(int(TRACE, 16), int(SPAN, 16), is_remote=False, trace_flags=TraceFlags(0))

    with use_span(NonRecordingSpan(span)):
        assert trace_ids() == {"trace_id": TRACE, "span_id": SPAN}
    assert trace_ids() == {}
