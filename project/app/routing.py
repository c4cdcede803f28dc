"""Routes whose handlers are called with what their guards found.

A guard is a dependency that reads the request and nothing else. It says which parameters it reads and which failures
it raises, so that the OpenAPI document knows. A handler that asks for guards and at most one JSON body is called
directly, which takes a third of the time; any other is solved by FastAPI, with the same bodies and failures.
"""

import re
from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any, TypeVar, get_type_hints

from fastapi import APIRouter, Depends
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from app.bodies import StrictRequest, check_media_type, read_body
from app.fields import INT8
from app.problems import NotFound, Unacceptable, field_error

_DIGITS = re.compile(r"[0-9]+")
_MOST_DIGITS = 100

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
Guard = TypeVar("Guard", bound=Callable[..., Awaitable[Any]])


def guard(*parameters: dict[str, Any], refuses: tuple[int, ...] = ()) -> Callable[[Guard], Guard]:
    """Mark a dependency whose only argument is the request.

    `parameters` are the OpenAPI Parameter Objects of what it reads, `refuses` the statuses of the problems it raises.
    """

    def marked(call: Guard) -> Guard:
        call.parameters = parameters  # type: ignore[attr-defined]
        call.refuses = refuses  # type: ignore[attr-defined]
        return call

    return marked


@guard(
    {
        "name": "id",
        "in": "path",
        "required": True,
        "schema": {"type": "integer", "minimum": 1, "maximum": INT8[1]},
    },
    refuses=(404, 422),
)
async def record_id(request: Request) -> int:
    """Return the id in the path; raise Unacceptable when it is no number, NotFound when no column could hold it."""
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
    """A route whose JSON body is read strictly, and whose handler is called directly where that is possible."""

    direct: Handler | None = None

    def get_route_handler(self) -> Handler:
        """Return FastAPI's own handler, given a request whose body is read strictly."""
        solve = super().get_route_handler()
        self.direct = self._direct()

        async def handle(request: Request) -> Response:
            if self.reads_json:
                request = StrictRequest(request.scope, request.receive)
                check_media_type(request)
            return await solve(request)

        return handle

    @property
    def guards(self) -> dict[str | None, Callable[[Request], Awaitable[Any]]]:
        """Return the guards of the handler by the name of its argument."""
        calls = {part.name: part.call for part in self.dependant.dependencies}
        return {name: call for name, call in calls.items() if call and hasattr(call, "refuses")}

    @property
    def reads_json(self) -> bool:
        """Return whether the handler takes a JSON body."""
        return any(
            type(field.field_info).__name__ == "Body" for field in self.dependant.body_params
        )

    def _direct(self) -> Handler | None:
        """Return a handler that calls the guards, the body's model and the endpoint, or None when it takes more."""
        asks = self.dependant
        guards = [(name, call) for name, call in self.guards.items() if name]
        others = len(asks.dependencies) - len(guards)
        if (
            others
            or asks.path_params
            or asks.query_params
            or asks.header_params
            or asks.cookie_params
        ):
            return None
        returned = get_type_hints(self.endpoint).get("return")
        if not (isinstance(returned, type) and issubclass(returned, Response)):
            return None
        models = [(field.name, field.field_info.annotation) for field in asks.body_params]
        if len(models) > 1 or not all(
            isinstance(model, type) and issubclass(model, BaseModel) for _, model in models
        ):
            return None
        endpoint = self.endpoint

        async def handle(request: Request) -> Response:
            values = {name: await call(request) for name, call in guards}
            for name, model in models:
                values[name] = await read_body(request, model)
            answer: Response = await endpoint(**values)
            return answer

        return handle


class Router(APIRouter):
    """The routes of a resource."""

    def __init__(self, **options: Any) -> None:
        super().__init__(route_class=Route, redirect_slashes=False, **options)
