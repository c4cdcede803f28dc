"""Routes whose handlers are called with what their guards found.

A guard is a dependency that reads the request and nothing else. It says which parameters it reads
and which failures it raises, so that the OpenAPI document knows. A handler that asks for guards and
at most one JSON body is called directly, which takes a third of the time; any other is solved by
FastAPI, with the same bodies and failures.
"""

import re
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from inspect import Parameter, signature
from typing import Annotated, Any, Protocol, TypeGuard, TypeVar, cast, get_type_hints

from fastapi import APIRouter, Depends, FastAPI
from fastapi.params import Body, Form
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from app.bodies import StrictRequest, read_body
from app.field_errors import field_error
from app.fields import INT8
from app.problems import NotFound, Unacceptable

_DIGITS = re.compile(r"[0-9]+")
_MOST_DIGITS = 100

Handler = Callable[[StrictRequest], Coroutine[Any, Any, Response]]
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
    """Return the id in the path; raise Unacceptable if it is no number, NotFound if too great."""
    given = request.path_params["id"]
    if not _DIGITS.fullmatch(given):
        raise Unacceptable(
            errors=[field_error("path", "id", "Should be decimal digits", "int_parsing")]
        )
    if len(given) > _MOST_DIGITS or not 0 < int(given) <= INT8[1]:
        raise NotFound
    return int(given)


Id = Annotated[int, Depends(record_id)]


class Route(APIRoute):
    """A route whose JSON body is read strictly, whose handler is called directly if it can be."""

    direct: Handler | None = None

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's own handler, given a request whose body is read strictly."""
        solve = super().get_route_handler()
        self.direct = self._direct()

        async def handle(request: Request) -> Response:
            if self.reads_json:
                request = StrictRequest(request.scope, request.receive)
                await request.json()  # what FastAPI's own reading raises becomes a 400 of its own
            _Overrides.app.set(request.app)
            return await solve(request)

        return handle

    @property
    def guards(self) -> dict[str, Guard]:
        """Return the guards of the handler by the name of its argument."""
        calls = {part.name or "": part.call for part in self.dependant.dependencies}
        return {
            name: cast("Guard", call) for name, call in calls.items() if hasattr(call, "refuses")
        }

    @property
    def reads_json(self) -> bool:
        """Return whether the handler takes a JSON body, of whatever type."""
        return bool(self._json_parts)

    @property
    def bodies(self) -> dict[str, type[BaseModel]]:
        """Return the models of the JSON body by the name of the handler's argument."""
        return {
            name: annotation
            for name, annotation in self._json_parts.items()
            if _is_model(annotation)
        }

    @property
    def _json_parts(self) -> dict[str, Any]:
        found = {part.name: part.field_info for part in self.dependant.body_params}
        return {
            name: info.annotation
            for name, info in found.items()
            if isinstance(info, Body) and not isinstance(info, Form)
        }

    def _direct(self) -> Handler | None:
        """Return what calls the guards, reads the body and calls the endpoint, if that is all."""
        endpoint, guards, bodies = self.endpoint, self.guards, self.bodies
        answered = get_type_hints(endpoint).get("return")
        asked = signature(endpoint).parameters
        complete = (
            asked.keys() == {*guards, *bodies}
            and all(part.default is Parameter.empty for part in asked.values())
            and len(self.dependant.dependencies) == len(guards)
            and len(bodies) <= 1
            and not self._embed_body_fields
            and isinstance(answered, type)
            and issubclass(answered, Response)
        )
        if not complete:
            return None

        async def handle(request: StrictRequest) -> Response:
            values = {name: await call(request) for name, call in guards.items()}
            for name, model in bodies.items():
                values[name] = await read_body(request, model)
            answer: Response = await endpoint(**values)
            return answer

        return handle


def _is_model(annotation: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


class _Overrides:
    """The overridden dependencies of the service that is asked; several may share the routes."""

    app: ContextVar[FastAPI] = ContextVar("app")

    @property
    def dependency_overrides(self) -> dict[Any, Any]:
        return self.app.get().dependency_overrides


class Router(APIRouter):
    """The routes of a resource."""

    def __init__(self, **options: Any) -> None:
        options |= {"redirect_slashes": False, "dependency_overrides_provider": _Overrides()}
        super().__init__(route_class=Route, **options)
