"""Guards: what a handler asks for in its signature, and what keeps it from being called.

A guard is a dependency that reads the request and nothing else. It says which parameters it reads
and which failures it raises, so that the OpenAPI document knows.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any, Protocol, TypeVar

from fastapi import Depends
from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from songbook.config import Settings
from songbook.db import Database
from songbook.errors import Unacceptable, field_error
from songbook.models import INT8

_DIGITS = re.compile(r"[0-9]+")
_MOST_DIGITS = 100

Found = TypeVar("Found")


class Guard(Protocol):
    """A dependency whose only argument is the request."""

    parameters: tuple[dict[str, Any], ...]
    refuses: tuple[int, ...]

    def __call__(self, request: Request) -> Awaitable[Any]:
        """Return what the handler needs; raise the problem that keeps it from being called."""


def guard(
    *parameters: dict[str, Any], refuses: tuple[int, ...] = ()
) -> Callable[[Callable[[Request], Awaitable[Found]]], Callable[[Request], Awaitable[Found]]]:
    """Mark a dependency whose only argument is the request.

    `parameters` are the OpenAPI Parameter Objects of what it reads, `refuses` the statuses of the
    problems that it raises.
    """

    def marked(
        call: Callable[[Request], Awaitable[Found]],
    ) -> Callable[[Request], Awaitable[Found]]:
        call.parameters = parameters  # type: ignore[attr-defined]
        call.refuses = refuses  # type: ignore[attr-defined]
        return call

    return marked


class Alternative:
    """Another body that a route takes, told by its media type: a dependency of the route."""

    media_types: tuple[str, ...]
    parameters: tuple[dict[str, Any], ...] = ()
    refuses: tuple[int, ...] = ()

    async def answer(self, request: Request) -> Response:
        """Read the body, and answer in the place of the handler."""
        raise NotImplementedError

    async def __call__(self, request: Request) -> None:
        """Do nothing: FastAPI calls it before the handler of the route's own body."""


class Ending(Protocol):
    """What a guard began for a handler and left in the request's scope as `write`."""

    async def concluded(self, answer: Response) -> Response:
        """End it well; return the answer that the client gets."""

    async def failed(self, error: BaseException) -> Response:
        """End it badly; return an answer all the same, or raise the error."""


class Rule:
    """Who may call a route: a dependency of the route or of its router, exactly one for each."""

    name: str
    """What the OpenAPI document calls it (`x-rule`)."""

    refuses: tuple[int, ...] = (401,)
    """The statuses of the problems that it raises where it asks who sends the request."""

    def asks(self, method: str, settings: Settings) -> bool:
        """Return whether it matters who sends a request with this method."""
        raise NotImplementedError

    async def __call__(self, request: Request) -> None:
        """Raise Unauthenticated, Forbidden or NotFound if the sender may not call the route."""
        raise NotImplementedError


@guard(
    {
        "name": "id",
        "in": "path",
        "required": True,
        "description": "The record's number.",
        "schema": {"type": "integer", "minimum": 1, "maximum": INT8[1]},
    },
    refuses=(404, 422),
)
async def record_id(request: Request) -> int:
    """Return the id in the path, 0 for one that no record can have; raise Unacceptable for none."""
    given = request.path_params["id"]
    if not _DIGITS.fullmatch(given):
        raise Unacceptable(
            errors=[field_error("path", "id", "Should be decimal digits", "int_parsing")]
        )
    return int(given) if len(given) <= _MOST_DIGITS and int(given) <= INT8[1] else 0


Id = Annotated[int, Depends(record_id)]


@guard()
async def settings(request: Request) -> Settings:
    """Return the settings of the service that handles the request."""
    found: Settings = request.app.state.settings
    return found


SettingsDep = Annotated[Settings, Depends(settings)]


@guard(refuses=(503,))
async def database(request: Request) -> Database:
    """Return the database of the service that handles the request."""
    found: Database = request.app.state.database
    return found


async def open_session(db: Annotated[Database, Depends(database)]) -> AsyncIterator[AsyncSession]:
    """Open a session for one request; it ends before the answer is sent."""
    async with db.session() as session:
        yield session


DatabaseDep = Annotated[Database, Depends(database)]


SessionDep = Annotated[AsyncSession, Depends(open_session, scope="function")]
