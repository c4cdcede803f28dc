"""The standard variables of OpenTelemetry that turn traces on."""

import re
from collections.abc import Mapping
from importlib.util import find_spec

from songbook.config.sources import CommandError

_PROTOCOL = "http/protobuf"

_HEADER = re.compile(r"[!#-'*+.\w^`|~-]+[ \t]*=[ !#-+\--:<-\[\]-~]*|", re.ASCII)
"""What OpenTelemetry's SDK takes for a header; it would log another one, with a token in it."""


def sends_traces(environ: Mapping[str, str]) -> bool:
    """Return whether the variables name a collector for traces.

    They are those of OpenTelemetry ("Environment Variable Specification", "OTLP Exporter
    Configuration"), read by its SDK too. Raises CommandError if traces cannot be sent.
    """
    endpoint = _first(environ, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    exporter = environ.get("OTEL_TRACES_EXPORTER") or "otlp"
    is_disabled = environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if not endpoint or exporter == "none" or is_disabled:
        return False
    if exporter != "otlp":
        raise CommandError(f"OTEL_TRACES_EXPORTER={exporter} is not supported: use otlp or none.")
    protocol = _first(environ, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    if protocol not in {"", _PROTOCOL}:
        raise CommandError(
            f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol} is not supported: use {_PROTOCOL}."
        )
    if not endpoint.startswith(("http://", "https://")):
        raise CommandError("OTEL_EXPORTER_OTLP_ENDPOINT is not a URL: begin it with http://.")
    for name in ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"):
        headers = environ.get(name, "").split(",")
        if not all(_HEADER.fullmatch(each.strip()) for each in headers):
            raise CommandError(f"{name} is not a list of headers: write name=value,… into it.")
    if not _is_installed("opentelemetry.exporter.otlp.proto.http", "opentelemetry.sdk"):
        raise CommandError(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, but the OpenTelemetry SDK is not installed: run"
            " `pip install -r requirements-telemetry.txt`, or unset it."
        )
    return True


def _first(environ: Mapping[str, str], *names: str) -> str:
    """Return the first value that is set; an empty one counts as unset."""
    return next((value for name in names if (value := environ.get(name))), "")


def _is_installed(*modules: str) -> bool:
    try:
        return all(map(find_spec, modules))
    except ModuleNotFoundError:  # not even the package of the module
        return False
