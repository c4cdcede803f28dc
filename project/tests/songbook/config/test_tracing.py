"""The variables that turn traces on."""

import sys

import pytest

from songbook.config import CommandError, sends_traces

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://collector/v1/traces"}, True),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, True),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20a=, b=c d,"}, True),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, False),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "TRUE"}, False),
    ],
)
def test_traces_are_sent_where_the_environment_names_a_collector(
    variables: dict[str, str],
    expected: bool,  # noqa: FBT001 - a value of the table
) -> None:
    assert sends_traces(variables) == expected


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "zipkin"}, "use otlp or none."),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "use http/protobuf."),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"}, "begin it with http://."),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_HEADERS": "authorization: Bearer a"}, "write name=value"),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_TRACES_HEADERS": 'a=b,c="d"'}, "write name=value"),
    ],
)
def test_what_cannot_be_sent_is_refused_at_the_start(
    variables: dict[str, str], message: str
) -> None:
    with pytest.raises(CommandError, match=message):
        sends_traces(variables)


def test_a_collector_needs_the_sdk_which_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk", None)

    with pytest.raises(CommandError, match=r"pip install -r requirements-telemetry\.txt"):
        sends_traces(ENDPOINT)
