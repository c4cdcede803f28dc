"""Permissions. Every route declares exactly one, directly or through its router.

The account of the token is read with each request, so that changes apply to the next one.
"""

import re
from collections.abc import Awaitable, Callable
from functools import cache
from http import HTTPMethod
from inspect import iscoroutinefunction
from typing import Annotated, Any

import asyncpg
from fastapi import Depends

from songbook.auth.accounts import find_account, own_columns, read_clock
from songbook.auth.tokens import Claims, decode, parse_bearer
from songbook.config import Settings
from songbook.errors import Forbidden, Unauthenticated
from songbook.http import Permission, Principal, StrictRequest, dependency

_SCOPE = re.compile(r"[!#-\[\]-~]+")
_SAFE = {HTTPMethod.GET, HTTPMethod.HEAD, HTTPMethod.OPTIONS}
USER_STATUSES = (401, 503)
"""The error statuses of a permission that requires a user."""

Check = Callable[[StrictRequest, Principal], Awaitable[bool]]


@dependency(error_statuses=USER_STATUSES)
async def current_user(request: StrictRequest) -> Principal:
    """Return the user of the token. Raises Unauthenticated."""
    if request.principal:
        return request.principal
    service = request.service
    claims = decode(
        service.settings.token_secret, parse_bearer(request.headers.get("authorization"))
    )
    assert service.accounts, "create_app rejects such routes without accounts"
    row = await request.database.fetch(find_account(service.accounts, "email", claims.email))
    if row is None or not row["is_active"] or not _are_valid(claims, row):
        raise Unauthenticated("Could not validate credentials")
    granted, own = _granted(claims, row), own_columns(service.accounts, row)
    return Principal(row["id"], row["email"], row["is_superuser"], granted, own)


@dependency(error_statuses=USER_STATUSES)
async def optional_user(request: StrictRequest) -> Principal | None:
    """Return the user of the token, None without one. Raises Unauthenticated for an invalid one."""
    if request.principal is None and "authorization" in request.headers:
        request.sign_in(await current_user.call(request))
    return request.principal


CurrentUser = Annotated[Principal, Depends(current_user)]
OptionalUser = Annotated[Principal | None, Depends(optional_user)]


def _granted(claims: Claims, row: asyncpg.Record) -> tuple[str, ...]:
    """Return the permissions of the token that the account has, if it has a column of them."""
    if not claims.permissions or "permissions" not in row:
        return claims.permissions
    stored = row["permissions"] or ()
    return tuple(permission for permission in claims.permissions if permission in stored)


def _are_valid(claims: Claims, row: asyncpg.Record) -> bool:
    """Return whether the claims are current, and not older than the credentials of the account."""
    return claims.are_current(read_clock(row)) and not _is_outdated(claims, row)


def _is_outdated(claims: Claims, row: asyncpg.Record) -> bool:
    """Return whether a token is older than the current password and e-mail of the account.

    Without `iat` it is older than any change; `iat` in whole seconds may be that of the creation.
    """
    issued, changed = claims.issued_at, row["credentials_changed_at"]
    if issued is None:
        return changed is not None
    if changed is not None:
        changed_at: float = changed.timestamp()
        return issued <= changed_at
    created: float = row["created_at"].timestamp()
    return issued < (created if claims.has_fractions else int(created))


class _Public(Permission):
    """Everyone."""

    name = "public"
    error_statuses = ()

    def requires_user(self, method: str, settings: Settings) -> bool:  # noqa: ARG002
        return False

    async def __call__(self, request: StrictRequest) -> None:
        """Allow the request."""


class SignedIn(Permission):
    """Every signed-in user."""

    name = "signed-in"
    error_statuses: tuple[int, ...] = USER_STATUSES

    def requires_user(self, method: str, settings: Settings) -> bool:  # noqa: ARG002
        """Return True for all methods."""
        return True

    async def __call__(self, request: StrictRequest) -> Principal | None:
        """Return the user after `check`, None if no user is required."""
        if not self.requires_user(request.method, request.service.settings):
            return None
        user = await current_user.call(request)
        await self.check(request, user)
        return user

    def includes(self, readers: object) -> bool:
        """Return whether `readers` are its own, everyone, or all users where it requires one."""
        return super().includes(readers) or type(readers) is SignedIn

    async def check(self, request: StrictRequest, user: Principal) -> None:
        """Raise a Problem if this user may not call the route."""


class _Open(SignedIn):
    """Everyone; with CLOSED_WRITES only signed-in users may write."""

    name = "open"

    def requires_user(self, method: str, settings: Settings) -> bool:
        return settings.closed_writes and method not in _SAFE

    def includes(self, readers: object) -> bool:
        return Permission.includes(self, readers)


class _Superuser(SignedIn):
    """A superuser."""

    name = "superuser"
    error_statuses = (*USER_STATUSES, 403)

    async def check(self, request: StrictRequest, user: Principal) -> None:  # noqa: ARG002
        if not user.is_superuser:
            raise Forbidden("Only superusers may do this.")


class _Owner(SignedIn):
    """Every signed-in user, of `Owned` tables to their own rows and to no others."""

    name = "owner"
    is_private = True


class _Shared(_Owner):
    """As `_Owner`; without a token, everyone may read the rows that are readable to all."""

    name = "shared"

    def requires_user(self, method: str, settings: Settings) -> bool:  # noqa: ARG002
        return method not in _SAFE

    def includes(self, readers: object) -> bool:
        return Permission.includes(self, readers)

    async def __call__(self, request: StrictRequest) -> Principal | None:
        """Return the user of the token, None if there is none and the request reads."""
        user = optional_user if request.method in _SAFE else current_user
        return await user.call(request)


class _Checked(SignedIn):
    """The users that a function allows."""

    def __init__(self, allows: Check, error_statuses: tuple[int, ...]) -> None:
        if not iscoroutinefunction(allows):
            raise TypeError(f"{allows!r} must be an `async def` to be a permission")
        self._allows = allows
        self.name = allows.__name__.replace("_", "-")
        self.error_statuses = (*USER_STATUSES, *error_statuses)

    async def check(self, request: StrictRequest, user: Principal) -> None:
        request.principal = user  # for statements of owned tables
        if await self._allows(request, user) is not True:  # a forgotten `return` allows nobody
            raise Forbidden


def permission(*, error_statuses: tuple[int, ...] = (403,)) -> Callable[[Check], SignedIn]:
    """Return a decorator for a function that returns whether a signed-in user may call a route.

    A route has it as `Depends(function)`. Anything but True is 403; the function may also raise a
    Problem, such as NotFound, whose status it declares. It is named for the function.
    """
    return lambda allows: _Checked(allows, error_statuses)


class _Needs(SignedIn):
    """Every user whose token has these permissions."""

    error_statuses = (*USER_STATUSES, 403)

    def __init__(self, scopes: tuple[str, ...]) -> None:
        self.scopes = scopes
        self.name = f"needs {' '.join(scopes)}"
        self._challenge = f'Bearer error="insufficient_scope", scope="{" ".join(scopes)}"'

    async def check(self, request: StrictRequest, user: Principal) -> None:  # noqa: ARG002
        if missing := [scope for scope in self.scopes if scope not in user.permissions]:
            detail = f"The token lacks the permission `{missing[0]}`."
            raise Forbidden(detail, headers={"WWW-Authenticate": self._challenge})


_needs = cache(_Needs)  # relations compare the permissions of their lists


def NEEDS(*permissions: str) -> Any:  # noqa: N802 - a constant like the others, for each text
    """Return the permission of users whose token has all `permissions`; superusers need them too.

    Each is a scope-token of OAuth 2 (RFC 6749, section 3.3), such as `songs:write`. Raises
    ValueError for others, and for none.
    """
    if not permissions or not all(map(_SCOPE.fullmatch, permissions)):
        raise ValueError(f"{permissions} are not one or more visible ASCII texts without quotes")
    return Depends(_needs(permissions))


PUBLIC, OPEN, SIGNED_IN = Depends(_Public()), Depends(_Open()), Depends(SignedIn())
SUPERUSER, OWNER, SHARED = Depends(_Superuser()), Depends(_Owner()), Depends(_Shared())
