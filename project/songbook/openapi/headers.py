"""The headers of responses in the OpenAPI document."""

from collections.abc import Iterable
from typing import Any, get_origin

from songbook.http import Route


def _header(description: str, schema: dict[str, Any], *, required: bool = True) -> dict[str, Any]:
    header = {"description": description, "schema": schema}
    return {**header, "required": True} if required else header


def _optional(name: str) -> str:
    return f"Optional-{name}" if "required" in _HEADERS[name] else name


_TAG = {"type": "string", "pattern": '^"[!#-~]*"$'}
_LINK = {"type": "string", "pattern": '^</[^>]*>; rel="next"$'}
_ATTACHMENT = {"type": "string", "pattern": '^attachment; filename="[^"]+"$'}
_CURSOR = {"type": "string", "pattern": "^[A-Za-z0-9_-]+$"}
_COUNT = {"type": "integer", "minimum": 0}
_REQUEST_ID = {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$", "maxLength": 64}

_HEADERS = {
    "ETag": _header("The entity tag of this response; with 412, of the current record.", _TAG),
    "Location": _header("The path of the created record.", {"type": "string", "pattern": "^/"}),
    "Link": _header("The path of the next page, if there is one.", _LINK, required=False),
    "X-Next-Cursor": _header(
        "The value of `after` for the next page, if there is one.", _CURSOR, required=False
    ),
    "X-Total-Count": _header("With `count`: the number of matching rows.", _COUNT, required=False),
    "X-Total-Count-Estimated": _header(
        "`true` with an X-Total-Count that is the planner's estimate.",
        {"type": "string", "const": "true"},
        required=False,
    ),
    "Content-Disposition": _header("The name of the file.", _ATTACHMENT),
    "X-Request-ID": _header("The id of the request, as in the log.", _REQUEST_ID),
    "Idempotency-Replayed": _header(
        "`true` on the stored response to an earlier request with the same key.",
        {"type": "string", "enum": ["true"]},
        required=False,
    ),
    "Vary": _header(
        "The request header that selects the format.", {"type": "string", "enum": ["Accept"]}
    ),
    "WWW-Authenticate": _header(
        "How to authenticate.", {"type": "string", "pattern": "^Bearer", "maxLength": 255}
    ),
    "Retry-After": _header("Seconds to wait before a retry.", _COUNT),
}
HEADERS = _HEADERS | {
    f"Optional-{name}": {key: each for key, each in header.items() if key != "required"}
    for name, header in _HEADERS.items()
}
"""The headers by the names of their components; what not every response has is optional."""


def headers_of(status: int, names: set[str], route: Route) -> dict[str, Any]:
    """Return the headers of a successful response."""
    is_tagged = status != 204 and route.response_model and "db" in route.request_dependencies
    # neither dry runs nor files have an ETag or a Location
    has_own = status in {201, 304} or "dry_run" not in names
    own = ["ETag"] if is_tagged else []
    own += ["Location"] if status == 201 else []
    if status == 201 and get_origin(route.response_model) is list:  # several records
        own = []
    if route.file_type:
        own, has_own = [] if route.bulk else ["Content-Disposition"], True
    always, sometimes = (["X-Request-ID", *own], []) if has_own else (["X-Request-ID"], own)
    if status in {200, 304} and "limit" in names and not route.file_type:
        always += ["Link", "X-Next-Cursor", "X-Total-Count", "X-Total-Count-Estimated", "Vary"]
    if "Idempotency-Key" in names:
        sometimes.append("Idempotency-Replayed")
    return references(always, sometimes)


def references(always: Iterable[str], sometimes: Iterable[str] = ()) -> dict[str, Any]:
    """Return references to the descriptions of headers, `sometimes` to those of optional ones."""
    named = {**{name: name for name in always}, **{name: _optional(name) for name in sometimes}}
    return {name: {"$ref": f"#/components/headers/{key}"} for name, key in named.items()}
