"""HTTP/1.1: which heads are refused (RFC 9112)."""

import re
from collections.abc import Iterable

from httptools import HttpParserError

from songbook.errors import (
    BadRequest,
    HeaderFieldsTooLarge,
    HttpVersionNotSupported,
    Problem,
    TransferCodingNotImplemented,
    UriTooLong,
)

Headers = list[tuple[bytes, bytes]]

HEAD_LIMIT = 64 * 1024
"""The maximum size of the request line and the headers, in bytes."""

FRAMING_LIMIT = 64 * 1024
"""The maximum size, in bytes, of what is neither head nor body, as chunk sizes and trailers."""

FRAMING_PER_BYTE = 16
"""How many bytes of framing each byte of the body adds to the limit."""

MAX_UNREAD = 64 * 1024
"""The declared size of a body that may follow its response on a kept connection, in bytes."""

_SINGLE = (b"host", b"content-type", b"transfer-encoding")
_HOST = re.compile(rb"(?:[\w.~!$&'()*+,;=%-]+|\[[\w:.%-]+\])(?::\d{0,5})?").fullmatch


class Dropped(Headers):
    """A list that keeps nothing, for trailers, which are no headers (RFC 9110, section 6.5.1)."""

    def append(self, _: tuple[bytes, bytes]) -> None:
        """Drop a field."""


def check_size(url: bytes, headers: Headers) -> None:
    """Raise a Problem if a head is too large (414, 431)."""
    if len(url) + sum(len(name) + len(value) for name, value in headers) > HEAD_LIMIT:
        raise too_large(url)


def too_large(url: bytes) -> Problem:
    """Return the problem of a head that is too large."""
    return UriTooLong() if len(url) > HEAD_LIMIT // 2 else HeaderFieldsTooLarge()


def check_head(version: str, headers: Headers) -> dict[bytes, bytes]:
    """Return the fields of a head. Raises a Problem (400, 501, 505)."""
    fields = dict(headers)
    if version != "1.1" and not version.startswith("1."):
        raise HttpVersionNotSupported
    if len(fields) != len(headers):
        _check_single(name for name, _ in headers)
    host = fields.get(b"host")
    if host is None:
        if version != "1.0":
            raise BadRequest("The request has no Host.")
    elif not _HOST(host):
        raise BadRequest("The Host is not the name of a host.")
    if (
        b"transfer-encoding" in fields
        and fields[b"transfer-encoding"].strip().lower() != b"chunked"
    ):
        raise TransferCodingNotImplemented
    return fields


def _check_single(names: Iterable[bytes]) -> None:
    """Raise BadRequest if one of the fields that allow no second line has one."""
    seen = [name for name in names if name in _SINGLE]
    for name in set(seen):
        if seen.count(name) > 1:
            raise BadRequest(f"The request has more than one {name.decode().title()}.")


def has_body(fields: dict[bytes, bytes]) -> bool:
    """Return whether a body follows the head."""
    return fields.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in fields


def may_be_long(fields: dict[bytes, bytes]) -> bool:
    """Return whether the body, if unread, may be too long to be skipped."""
    return b"transfer-encoding" in fields or int(fields.get(b"content-length", 0)) > MAX_UNREAD


def problem_of(error: HttpParserError) -> Problem:
    """Return the problem of a request that the parser or a callback refuses."""
    if isinstance(error.__context__, Problem):
        return error.__context__
    if "HTTP version" in str(error) or "PRI" in str(error):  # PRI begins HTTP/2
        return HttpVersionNotSupported()
    return BadRequest("The request is not HTTP/1.1.")
