"""Media types, and content negotiation (RFC 9110, section 12.5.1)."""

import re
from collections.abc import Sequence

from starlette.datastructures import Headers

JSON = "application/json"
CSV = "text/csv"
NDJSON = "application/x-ndjson"

JSONL = "application/jsonl"
OCTET_STREAM = "application/octet-stream"

FILE_SUFFIXES = {CSV: "csv", NDJSON: "ndjson"}
"""File suffixes by media type."""

ALIASES = {JSONL: NDJSON}
"""Other names of media types."""

_QUALITY = re.compile(r"q=(0(\.[0-9]{0,3})?|1(\.0{0,3})?)")

_ANYTHING = ("", "*/*")


def negotiate(headers: Headers, offered: Sequence[str]) -> str:
    """Return the media type that Accept headers prefer; the first if several or none match.

    Several headers are one list (RFC 9110, section 5.3).
    """
    accept = ",".join(headers.getlist("accept"))
    if accept in _ANYTHING or accept == offered[0]:
        return offered[0]
    ranges = [_range(part) for part in accept.split(",") if part.strip()]
    return max(offered, key=lambda media_type: _quality(media_type, ranges))


def _range(part: str) -> tuple[str, float]:
    """Return a media range without its parameters, and its quality."""
    media_range, *parameters = [each.strip().lower() for each in part.split(";")]
    weights = [match[1] for each in parameters if (match := _QUALITY.fullmatch(each))]
    return media_range, float(weights[0]) if weights else 1.0


def _quality(media_type: str, ranges: Sequence[tuple[str, float]]) -> float:
    """Return the quality of a media type, from the most specific matching range."""
    for wanted in (media_type, f"{media_type.partition('/')[0]}/*", "*/*"):
        qualities = [quality for media_range, quality in ranges if media_range == wanted]
        if qualities:
            return max(qualities)
    return 0.0
