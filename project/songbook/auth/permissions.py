"""Who may do what: every route names one of these rules, or its router does.

A request says who sends it by a token of a row of the table `users`, which is read each time: what
was changed there holds from the next request on.
"""

from http import HTTPMethod
from typing import Annotated, NamedTuple

import asyncpg
from fastapi import Depends
from starlette.requests import Request

from songbook.auth.accounts import account
from songbook.auth.tokens import Claims, bearer, read
from songbook.config import Settings
from songbook.db.database import Database
from songbook.errors.problems import Forbidden, NotFound, Unauthenticated
from songbook.http.dependencies import Rule, guard, record_id

_SAFE = {HTTPMethod.GET, HTTPMethod.HEAD, HTTPMethod.OPTIONS}
_ASKED = (401, 503)


class Sender(NamedTuple):
    """Who sends a request."""

    id: int
    email: str
    is_superuser: bool
    permissions: tuple[str, ...]
    """What the token permits; no route here asks for any."""


@guard(refuses=_ASKED)
async def current_user(request: Request) -> Sender:
    """Return who sends the request; raise Unauthenticated if it does not say so credibly."""
    if "user" not in request.scope:
        settings: Settings = request.app.state.settings
        db: Database = request.app.state.database
        claims = read(settings.token_secret, bearer(request.headers.get("authorization")))
        row = await db.fetch(account("email", claims.email))
        if row is None or not row["is_active"] or _is_outdated(claims, row):
            raise Unauthenticated("Could not validate credentials")
        request.scope["user"] = Sender(
            row["id"], row["email"], row["is_superuser"], claims.permissions
        )
    user: Sender = request.scope["user"]
    return user


CurrentUser = Annotated[Sender, Depends(current_user)]


def _is_outdated(claims: Claims, row: asyncpg.Record) -> bool:
    """Return whether a token is older than the password and the e-mail that it was given for.

    Who issues tokens in whole seconds is trusted as to the second in which a user is created; one
    without `iat` is older than any change, and than a user whose e-mail was somebody else's.
    """
    issued, changed = claims.issued_at, row["credentials_changed_at"]
    if issued is None:
        return changed is not None
    if changed is not None:
        changed_at: float = changed.timestamp()
        return issued <= changed_at
    created: float = row["created_at"].timestamp()
    return issued < (created if claims.has_fractions else int(created))


class _Public(Rule):
    """Anyone."""

    name = "public"
    refuses = ()

    def asks(self, method: str, settings: Settings) -> bool:  # noqa: ARG002
        return False

    async def __call__(self, request: Request) -> None:
        """Admit the request."""


class _SignedIn(Rule):
    """Every user."""

    name = "signed-in"
    refuses: tuple[int, ...] = _ASKED

    def asks(self, method: str, settings: Settings) -> bool:  # noqa: ARG002
        return True

    async def __call__(self, request: Request) -> None:
        if self.asks(request.method, request.app.state.settings):
            await self.check(request, await current_user(request))

    async def check(self, request: Request, user: Sender) -> None:
        """Raise the problem that keeps this user from calling the route."""


class _Open(_SignedIn):
    """Anyone; with CLOSED_WRITES only every user may write."""

    name = "open"

    def asks(self, method: str, settings: Settings) -> bool:
        return settings.closed_writes and method not in _SAFE


class _Superuser(_SignedIn):
    """A superuser."""

    name = "superuser"
    refuses = (*_ASKED, 403)

    async def check(self, request: Request, user: Sender) -> None:  # noqa: ARG002
        if not user.is_superuser:
            raise Forbidden("Only a superuser may do this.")


class _Profile(_SignedIn):
    """Every user; with PRIVATE_PROFILES only the user of the `id` in the path, and superusers."""

    name = "profile"
    refuses: tuple[int, ...] = (*_ASKED, 404)

    async def check(self, request: Request, user: Sender) -> None:
        private = request.app.state.settings.private_profiles
        if private and not user.is_superuser and await record_id(request) != user.id:
            raise NotFound("User not found")


class _Account(_Profile):
    """A superuser; another user is told no more than that he may not, and of others nothing."""

    name = "account"
    refuses = (*_ASKED, 403, 404)

    async def check(self, request: Request, user: Sender) -> None:
        await super().check(request, user)
        if not user.is_superuser:
            raise Forbidden("Only a superuser may do this; your own account is at /users/me.")


PUBLIC, OPEN, SIGNED_IN = Depends(_Public()), Depends(_Open()), Depends(_SignedIn())
SUPERUSER, PROFILE, ACCOUNT = Depends(_Superuser()), Depends(_Profile()), Depends(_Account())
