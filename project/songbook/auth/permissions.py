"""Who may do what: every route names one of these rules, or its router does.

A request says who sends it by a token of an account, whose row is read each time: what was changed
there holds from the next request on.
"""

from http import HTTPMethod
from typing import Annotated, NamedTuple

import asyncpg
from fastapi import Depends
from starlette.requests import Request

from songbook.auth.accounts import Accounts
from songbook.auth.tokens import Claims, bearer, read
from songbook.config import Settings
from songbook.db import Database
from songbook.errors import Forbidden, Unauthenticated
from songbook.http import Rule, guard

_SAFE = {HTTPMethod.GET, HTTPMethod.HEAD, HTTPMethod.OPTIONS}
ASKED = (401, 503)
"""The statuses of the problems of a rule that asks who sends the request."""


class Sender(NamedTuple):
    """Who sends a request."""

    id: int
    email: str
    is_superuser: bool
    permissions: tuple[str, ...]
    """What the token permits; no route here asks for any."""


@guard(refuses=ASKED)
async def current_user(request: Request) -> Sender:
    """Return who sends the request; raise Unauthenticated if it does not say so credibly."""
    if "user" not in request.scope:
        settings: Settings = request.app.state.settings
        db: Database = request.app.state.database
        claims = read(settings.token_secret, bearer(request.headers.get("authorization")))
        accounts: Accounts = request.app.state.accounts
        row = await db.fetch(accounts.find("email", claims.email))
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


class SignedIn(Rule):
    """Every user."""

    name = "signed-in"
    refuses: tuple[int, ...] = ASKED

    def asks(self, method: str, settings: Settings) -> bool:  # noqa: ARG002
        """Return True: it always matters."""
        return True

    async def __call__(self, request: Request) -> None:
        """Ask who sends the request, where that matters, and check that user."""
        if self.asks(request.method, request.app.state.settings):
            await self.check(request, await current_user(request))

    async def check(self, request: Request, user: Sender) -> None:
        """Raise the problem that keeps this user from calling the route."""


class _Open(SignedIn):
    """Anyone; with CLOSED_WRITES only every user may write."""

    name = "open"

    def asks(self, method: str, settings: Settings) -> bool:
        return settings.closed_writes and method not in _SAFE


class _Superuser(SignedIn):
    """A superuser."""

    name = "superuser"
    refuses = (*ASKED, 403)

    async def check(self, request: Request, user: Sender) -> None:  # noqa: ARG002
        if not user.is_superuser:
            raise Forbidden("Only a superuser may do this.")


PUBLIC, OPEN, SIGNED_IN = Depends(_Public()), Depends(_Open()), Depends(SignedIn())
SUPERUSER = Depends(_Superuser())
