"""Dependencies that read the request and nothing else, and what a route is made of beside them.

Each says which parameters it reads and with which statuses it refuses, so that the OpenAPI document
knows, and a route can call its handler directly.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Depends
from starlette.responses import Response

from songbook.config import Settings
from songbook.http.completion import Completion, Opened
from songbook.http.query_options import Parameter
from songbook.http.requests import Principal, StrictRequest

T = TypeVar("T")

Call = Callable[[StrictRequest], Awaitable[T]]

KEYED_METHODS = {"POST", "PATCH"}
"""The methods of requests that are not idempotent by themselves (RFC 9110, section 9.2.2)."""


@dataclass(frozen=True, eq=False)
class Dependency(Generic[T]):
    """A dependency whose only argument is the request."""

    call: Call[T]

    parameters: tuple[Parameter, ...] = ()
    """The OpenAPI Parameter Objects of what it reads."""

    error_statuses: tuple[int, ...] = ()
    """The statuses of the problems that it raises."""

    parses_query: bool = False
    """Whether it reads the whole query string, and refuses unknown parameters."""

    def parameters_for(self, method: str) -> tuple[Parameter, ...]:  # noqa: ARG002
        """Return the parameters that it reads of a request with this method."""
        return self.parameters

    def error_statuses_for(self, method: str) -> set[int]:  # noqa: ARG002
        """Return the statuses with which it refuses a request with this method."""
        return set(self.error_statuses)

    async def __call__(self, request: StrictRequest) -> T:
        """Return what the handler needs, where FastAPI calls the dependencies."""
        return await self.call(request)


@dataclass(frozen=True, eq=False)
class OpeningDependency(Dependency[Opened]):
    """A dependency that begins what has to end with the response: a transaction."""

    key_parameter: Parameter | None = None
    """The parameter of an idempotency key, which the methods of `KEYED_METHODS` have."""

    def parameters_for(self, method: str) -> tuple[Parameter, ...]:
        """Return the parameters that it reads of a request with this method."""
        keyed = (self.key_parameter,) if self.key_parameter and method in KEYED_METHODS else ()
        return (*self.parameters, *keyed)

    def error_statuses_for(self, method: str) -> set[int]:
        """Return the statuses with which it refuses a request with this method."""
        keyed = {400, 409} if self.key_parameter and method in KEYED_METHODS else set()
        return keyed | set(self.error_statuses)

    async def __call__(self, request: StrictRequest) -> Any:
        """Return what the handler needs, where FastAPI calls the dependencies."""
        argument, request.completion = await self.call(request)
        return argument


def dependency(
    *parameters: Parameter, error_statuses: tuple[int, ...] = (), parses_query: bool = False
) -> Callable[[Call[T]], Dependency[T]]:
    """Make a dependency of a function whose only argument is the request."""
    return lambda call: Dependency(call, parameters, error_statuses, parses_query)


def opening_dependency(**options: Any) -> Callable[[Call[Opened]], OpeningDependency]:
    """Make a dependency of a function that begins what ends with the response."""
    return lambda call: OpeningDependency(call, **options)


class BulkBody:
    """Another body that a route takes, told by its media type: many rows."""

    media_types: tuple[str, ...]
    parameters: tuple[Parameter, ...] = ()
    error_statuses: tuple[int, ...] = ()

    async def open(
        self, request: StrictRequest, media_type: str
    ) -> tuple[Completion, Awaitable[Response]]:
        """Begin to answer in the place of the handler; what is returned ends as after it."""
        raise NotImplementedError


class Permission:
    """Who may call a route: a dependency that every route has, directly or through its router."""

    name: str
    error_statuses: tuple[int, ...] = (401,)
    """The statuses of the problems that it raises where it asks who sends the request."""

    def requires_user(self, method: str, settings: Settings) -> bool:
        """Return whether it matters who sends a request with this method."""
        raise NotImplementedError

    async def __call__(self, request: StrictRequest) -> Principal | None:
        """Return who sends the request, None where that does not matter.

        Raises Unauthenticated, Forbidden or NotFound if the sender may not call the route.
        """
        raise NotImplementedError


@dependency()
async def settings(request: StrictRequest) -> Settings:
    """Return the settings of the service that handles the request."""
    return request.service.settings


SettingsDep = Annotated[Settings, Depends(settings)]
