"""Permissions. Every route declares exactly one, directly or through its router.

The account of the token is read with each request, so that changes apply to the next one.
"""

from http import HTTPMethod
from typing import Annotated

import asyncpg
from fastapi import Depends

from songbook.auth.accounts import find_account, read_clock
from songbook.auth.tokens import Claims, decode, parse_bearer
from songbook.config import Settings
from songbook.errors import Forbidden, Unauthenticated
from songbook.http import Permission, Principal, StrictRequest, dependency

_SAFE = {HTTPMethod.GET, HTTPMethod.HEAD, HTTPMethod.OPTIONS}
USER_STATUSES = (401, 503)
"""The error statuses of a permission that requires a user."""


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
    return Principal(row["id"], row["email"], row["is_superuser"], claims.permissions)


CurrentUser = Annotated[Principal, Depends(current_user)]


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

    async def check(self, request: StrictRequest, user: Principal) -> None:
        """Raise a Problem if this user may not call the route."""


class _Open(SignedIn):
    """Everyone; with CLOSED_WRITES only signed-in users may write."""

    name = "open"

    def requires_user(self, method: str, settings: Settings) -> bool:
        return settings.closed_writes and method not in _SAFE


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


PUBLIC, OPEN, SIGNED_IN = Depends(_Public()), Depends(_Open()), Depends(SignedIn())
SUPERUSER, OWNER = Depends(_Superuser()), Depends(_Owner())
