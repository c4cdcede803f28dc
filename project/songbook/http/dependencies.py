"""Dependencies whose only argument is the request, permissions and bulk bodies.

Each declares its parameters and error statuses for the OpenAPI document.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeAlias, TypeVar

from fastapi import Depends
from starlette.responses import Response
from typing_extensions import override

from songbook.config import Settings
from songbook.http.completion import Completion, Opened
from songbook.http.query_options import Parameter
from songbook.http.requests import Principal, StrictRequest
from songbook.models import Record, Relation, Representation

T = TypeVar("T")

Related: TypeAlias = Callable[[type[Record]], Mapping[str, Relation]]
"""Returns the relations of a resource that a route shows."""

Call = Callable[[StrictRequest], Awaitable[T]]

KEYED_METHODS = {"POST", "PATCH"}
"""The methods that are not idempotent (RFC 9110, section 9.2.2)."""


@dataclass(frozen=True, eq=False)
class Dependency(Generic[T]):
    """A dependency whose only argument is the request."""

    call: Call[T]

    parameters: tuple[Parameter, ...] = ()
    """The OpenAPI Parameter Objects of the parameters that it reads."""

    error_statuses: tuple[int, ...] = ()
    """The statuses of the problems that it raises."""

    parses_query: bool = False
    """Whether it parses the query string, and rejects unknown parameters."""

    def parameters_for(
        self,
        method: str,  # noqa: ARG002
        related: Related,  # noqa: ARG002
    ) -> tuple[Parameter, ...]:
        """Return the parameters that it reads from a request with this method."""
        return self.parameters

    def error_statuses_for(self, method: str) -> set[int]:  # noqa: ARG002
        """Return the statuses of the problems that it raises for this method."""
        return set(self.error_statuses)

    async def __call__(self, request: StrictRequest) -> T:
        """Return the argument for the handler when FastAPI calls the dependencies."""
        return await self.call(request)


@dataclass(frozen=True, eq=False)
class OpeningDependency(Dependency[Opened]):
    """A dependency that begins a transaction, which ends with the response."""

    key_parameter: Parameter | None = None
    """The parameter of the idempotency key, for `KEYED_METHODS`."""

    @override
    def parameters_for(self, method: str, related: Related) -> tuple[Parameter, ...]:
        keyed = (self.key_parameter,) if self.key_parameter and method in KEYED_METHODS else ()
        return (*self.parameters, *keyed)

    def error_statuses_for(self, method: str) -> set[int]:
        """Return the statuses of the problems that it raises for this method."""
        keyed = {400, 409} if self.key_parameter and method in KEYED_METHODS else set()
        return keyed | set(self.error_statuses)

    async def __call__(self, request: StrictRequest) -> Any:
        """Return the argument for the handler when FastAPI calls the dependencies."""
        argument, request.completion = await self.call(request)
        return argument


@dataclass(frozen=True, eq=False, kw_only=True)
class RelatedDependency(Dependency[T]):
    """A dependency whose parameters depend on the relations of a resource."""

    shown: Representation
    describe: Callable[[Mapping[str, Relation]], tuple[Parameter, ...]]
    """Returns the parameters for these relations."""

    is_partial: bool = False
    """Whether it gives a list with a condition of its own, not of all the records."""

    file_types: tuple[str, ...] = ()
    """The media types of the files that it gives, too."""

    @override
    def parameters_for(self, method: str, related: Related) -> tuple[Parameter, ...]:
        return self.describe(related(self.shown.table))


def dependency(
    *parameters: Parameter, error_statuses: tuple[int, ...] = (), parses_query: bool = False
) -> Callable[[Call[T]], Dependency[T]]:
    """Return a decorator for a function whose only argument is the request."""
    return lambda call: Dependency(call, parameters, error_statuses, parses_query)


def opening_dependency(**options: Any) -> Callable[[Call[Opened]], OpeningDependency]:
    """Return a decorator for a function that begins a transaction."""
    return lambda call: OpeningDependency(call, **options)


class BulkBody:
    """A body with many rows, recognized by its media type."""

    media_types: tuple[str, ...]
    parameters: tuple[Parameter, ...] = ()
    error_statuses: tuple[int, ...] = ()

    async def open(
        self, request: StrictRequest, media_type: str
    ) -> tuple[Completion, Awaitable[Response]]:
        """Return the transaction, and the response to await in place of the handler's."""
        raise NotImplementedError


class Permission:
    """Who may call a route: a dependency of every route, directly or through its router."""

    name: str
    error_statuses: tuple[int, ...] = (401,)
    """The statuses of the problems that it raises when it requires a user."""

    is_private = False
    """Whether responses differ by user, so that shared caches must not store them."""

    scopes: tuple[str, ...] = ()
    """The permissions that the token needs."""

    def requires_user(self, method: str, settings: Settings) -> bool:
        """Return whether a request with this method needs a signed-in user."""
        raise NotImplementedError

    def includes(self, readers: object) -> bool:
        """Return whether all whom it lets read may read a list with the permission `readers`, too.

        `readers` is None for a list that everyone may read.
        """
        return readers is None or readers is self

    async def __call__(self, request: StrictRequest) -> Principal | None:
        """Return the user, if one is required. Raises Unauthenticated, Forbidden or NotFound."""
        raise NotImplementedError


@dependency()
async def settings(request: StrictRequest) -> Settings:
    """Return the settings of the service that handles the request."""
    return request.service.settings


SettingsDep = Annotated[Settings, Depends(settings)]
