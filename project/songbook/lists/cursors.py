"""Cursors: the position of a row in a list, as an opaque string."""

import base64
import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from songbook.errors import BadCursor

_DIGEST = 9


def encode_cursor(values: Sequence[str | None], scope: str) -> str:
    """Return the cursor of the row with these values, valid only for `scope`.

    The digest detects cursors that were cut, mistyped or taken from another list. It protects no
    secret: a forged cursor only names another position.
    """
    content = json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_digest(content, scope) + content).decode().rstrip("=")


def decode_cursor(cursor: str, scope: str) -> list[str | None]:
    """Return the values of a cursor. Raises BadCursor if it was not made for `scope`."""
    try:
        decoded = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        values: list[str | None] = json.loads(decoded[_DIGEST:])
        genuine = encode_cursor(values, scope) == cursor
    except (ValueError, RecursionError):
        raise BadCursor from None
    if not (genuine and isinstance(values, list) and all(_is_value(value) for value in values)):
        raise BadCursor
    return values


def _is_value(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _digest(content: bytes, scope: str) -> bytes:
    return sha256(scope.encode() + b"\0" + content).digest()[:_DIGEST]
