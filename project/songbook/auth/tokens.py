"""Bearer tokens: JSON Web Tokens (RFC 7519) signed with HS256, decoded strictly.

The response never says which check failed.
"""

import re
from collections.abc import Iterable
from typing import Annotated

import jwt
from jwt.types import Options
from pydantic import AllowInfNan, BaseModel, BeforeValidator, ConfigDict, Field

from songbook.errors import Unauthenticated

_ALGORITHM = "HS256"
_KEY_BYTES = 32
_LEEWAY_SECONDS = 30
# PyJWT would compare the times with the clock of this process.
_CHECKS: Options = {
    "require": ["sub", "permissions", "exp"],
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
}
_INVALID = "Could not validate credentials"

_HEADER_TYPES = {"jwt", "at+jwt"}
_LAST_SECOND = 253_402_300_799  # the end of 9999, the last year of Python
_MAX_TOKEN = 8192
_BEARER = re.compile(r"[A-Za-z0-9._~+/-]+=*")

# PyJWT also accepts strings, true and any size.
_Instant = Annotated[float, Field(ge=0, le=_LAST_SECOND), AllowInfNan(allow_inf_nan=False)]


def _not_null(value: object) -> object:
    """Return the value of a claim that may be missing, but not null. Raises ValueError."""
    if value is None:
        raise ValueError("null is no time")
    return value


_OptionalInstant = Annotated[_Instant | None, BeforeValidator(_not_null)]


class Claims(BaseModel):
    """The claims of a token."""

    model_config = ConfigDict(strict=True)

    email: str = Field(alias="sub", max_length=320, pattern=r"^[^\x00]+@[^\x00]+$")
    permissions: tuple[str, ...] = Field(strict=False)
    expires_at: _Instant = Field(alias="exp")
    not_before: _OptionalInstant = Field(None, alias="nbf")
    issued_at: _OptionalInstant = Field(None, alias="iat")
    """Seconds since 1970."""
    type: str = Field("access", alias="typ", pattern="(?i)^(access|bearer)$")

    def are_current(self, now: float) -> bool:
        """Return whether `now` is between their times, which may be wrong by 30 seconds."""
        latest_start = max(self.issued_at or 0, self.not_before or 0)
        return latest_start <= now + _LEEWAY_SECONDS and self.expires_at > now - _LEEWAY_SECONDS

    @property
    def has_fractions(self) -> bool:
        """Whether `issued_at` has fractions of a second."""
        return self.issued_at is not None and not self.issued_at.is_integer()


def encode(
    secret: str, email: str, issued_at: float, minutes: float, permissions: Iterable[str] = ()
) -> str:
    """Return a token that expires so many minutes after `issued_at`.

    Raises ValueError if it is longer than `decode` accepts.
    """
    claims = {
        "sub": email,
        "permissions": [*permissions],
        "iat": issued_at,
        "exp": int(issued_at + 60 * minutes),
    }
    token = jwt.encode(claims, _key(secret), _ALGORITHM)
    if len(token) > _MAX_TOKEN:
        raise ValueError(f"a token with these permissions is longer than {_MAX_TOKEN} characters")
    return token


def decode(secret: str, token: str) -> Claims:
    """Return the claims of a token with a valid signature. Raises Unauthenticated.

    The caller compares their times with the clock of the database, which also wrote them.
    """
    key = _key(secret)
    if len(token) > _MAX_TOKEN:  # PyJWT parses the token before it checks the signature
        raise Unauthenticated(_INVALID)
    try:
        complete = jwt.decode_complete(token, key, [_ALGORITHM], _CHECKS)
        claims = Claims.model_validate(complete["payload"])
    except (jwt.PyJWTError, ValueError):
        raise Unauthenticated(_INVALID) from None
    header = complete["header"]
    if "crit" in header or str(header.get("typ", "jwt")).lower() not in _HEADER_TYPES:
        raise Unauthenticated(_INVALID)
    return claims


def parse_bearer(header: str | None) -> str:
    """Return the token of an Authorization header (RFC 6750). Raises Unauthenticated."""
    scheme, _, token = (header or "").partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthenticated
    token = token.lstrip(" ")
    if not _BEARER.fullmatch(token):
        raise Unauthenticated(_INVALID)
    return token


def _key(secret: str) -> bytes:
    """Return the key, padded as HMAC pads it (RFC 2104), since PyJWT warns about short ones."""
    if not secret:
        raise ValueError("the secret of the tokens is empty: set OAUTH_TOKEN_SECRET")
    return secret.encode().ljust(_KEY_BYTES, b"\0")
