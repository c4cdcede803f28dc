"""Bearer tokens: JSON Web Tokens (RFC 7519) signed with HS256, strictly read.

Whatever is wrong with one is told in the same words: which check failed is nobody's business.
"""

import re
from typing import Any, NamedTuple, Never

import jwt

from songbook.errors import Unauthenticated

_ALGORITHM = "HS256"
_KEY_BYTES = 32
_LEEWAY_SECONDS = 30
_REQUIRED = ["sub", "permissions", "exp"]
_INVALID = "Could not validate credentials"

_HEADER_TYPES = {"jwt", "at+jwt"}
_CLAIM_TYPES = {"access", "bearer"}
_LAST_SECOND = 253_402_300_799  # of the year 9999, the last that PostgreSQL and Python both tell
_LONGEST_TOKEN = 8192
_LONGEST_EMAIL = 320
_EMAIL = re.compile(r"[^\0\ud800-\udfff]+@[^\0\ud800-\udfff]+")
_BEARER = re.compile(r"[A-Za-z0-9._~+/-]+=*")


class Claims(NamedTuple):
    """What a token that is in order says."""

    email: str
    permissions: tuple[str, ...]
    issued_at: float | None
    """Seconds since 1970; None when the token does not tell."""
    has_fractions: bool
    """Whether `issued_at` tells more than the second."""


def issue(secret: str, email: str, issued_at: float, minutes: float) -> str:
    """Return a token for a user that is good for so many minutes after `issued_at`."""
    claims = {
        "sub": email,
        "permissions": [],
        "iat": issued_at,
        "exp": int(issued_at + 60 * minutes),
    }
    return jwt.encode(claims, _key(secret), _ALGORITHM)


def read(secret: str, token: str) -> Claims:
    """Return what a token says; raise Unauthenticated, whatever is wrong with it.

    It has to be of our signature, with `sub`, `permissions` and an `exp` that is not over; `iat`,
    `nbf` and `typ` are checked when they are there. A clock may be wrong by 30 seconds.
    """
    if len(token) > _LONGEST_TOKEN:  # PyJWT looks at every byte before it looks at the signature
        _refuse()
    key = _key(secret)
    try:
        complete = jwt.decode_complete(
            token, key, [_ALGORITHM], {"require": _REQUIRED}, leeway=_LEEWAY_SECONDS
        )
    except (jwt.PyJWTError, UnicodeEncodeError):
        _refuse()
    claims: dict[str, Any] = complete["payload"]
    if not _is_ours(complete["header"], claims):
        _refuse()
    iat = claims.get("iat")
    return Claims(
        email=claims["sub"],
        permissions=tuple(claims["permissions"]),
        issued_at=None if iat is None else float(iat),
        has_fractions=isinstance(iat, float) and not iat.is_integer(),
    )


def bearer(header: str | None) -> str:
    """Return the token in the value of an Authorization header (RFC 6750, section 2.1).

    Raises Unauthenticated: as if nothing were there for another scheme, else for what is no token.
    """
    scheme, _, token = (header or "").partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthenticated
    token = token.lstrip(" ")
    if not _BEARER.fullmatch(token):
        _refuse()
    return token


def _refuse() -> Never:
    raise Unauthenticated(_INVALID) from None


def _key(secret: str) -> bytes:
    """Return the key that a secret is.

    HMAC itself fills a short key with zeros (RFC 2104, section 2), so the signatures are the same;
    PyJWT would warn of it on every request. That a secret is long enough is for the settings.
    """
    if not secret:
        raise ValueError("the secret of the tokens is empty")
    return secret.encode().ljust(_KEY_BYTES, b"\0")


def _is_ours(header: dict[str, Any], claims: dict[str, Any]) -> bool:
    """Tell whether what PyJWT leaves open is as it should be."""
    permissions = claims["permissions"]
    return (
        "crit" not in header
        and _is_among(header, _HEADER_TYPES)
        and _is_among(claims, _CLAIM_TYPES)
        and all(_is_instant(claims[name]) for name in ("exp", "iat", "nbf") if name in claims)
        and len(claims["sub"]) <= _LONGEST_EMAIL
        and _EMAIL.fullmatch(claims["sub"]) is not None
        and isinstance(permissions, list)
        and all(isinstance(permission, str) for permission in permissions)
    )


def _is_among(part: dict[str, Any], types: set[str]) -> bool:
    """Tell whether the `typ` of a part of a token, if it has one, is one of these in any case."""
    return "typ" not in part or (isinstance(part["typ"], str) and part["typ"].lower() in types)


def _is_instant(value: Any) -> bool:
    """Tell whether a value is a NumericDate; PyJWT also takes strings, true, and any size."""
    return type(value) in {int, float} and 0 <= value <= _LAST_SECOND
