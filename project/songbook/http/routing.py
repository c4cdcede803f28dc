"""Routes whose handlers are called with what their guards found.

Every route names the rule of who may call it. A handler that asks for guards and at most one body
is called directly, which takes a third of the time; any other is solved by FastAPI, with the same
bodies and failures.
"""

from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from inspect import Parameter, signature
from typing import Any, TypeGuard, cast, get_type_hints

from fastapi import APIRouter, FastAPI
from fastapi.params import Body
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from songbook.http.dependencies import Alternative, Ending, Guard, Rule
from songbook.http.requests import FORM, StrictRequest, media_type_of, read_body

Handler = Callable[[StrictRequest], Coroutine[Any, Any, Response]]


class Route(APIRoute):
    """A route whose body is read strictly, whose handler is called directly if it can be."""

    direct: Handler | None = None
    canonical: str
    """The path of the route itself, also of one that answers at an alias of it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's own handler, given a request whose body is read strictly."""
        solve, rule, other = super().get_route_handler(), self.rule, self.alternative
        self.canonical = self.path
        self.direct = self._direct()

        async def handle(request: Request) -> Response:
            request = StrictRequest(request.scope, request.receive, form=self.reads_form)
            if self.reads_body:
                if rule not in request.app.dependency_overrides:
                    await rule(request)  # FastAPI would ask it after the body is read
                if other and _takes(other, request):
                    return await _ended(request, other.answer(request))
                await request.json()  # what FastAPI's own reading raises becomes a 400 of its own
            _Overrides.app.set(request.app)
            return await _ended(request, solve(request))

        return handle

    @property
    def rule(self) -> Rule:
        """Return who may call the route; raise TypeError if it does not name exactly one rule."""
        calls = [part.call for part in self.dependant.dependencies]
        rules = [call for call in calls if isinstance(call, Rule)]
        if len(rules) != 1:
            raise TypeError(
                f"{self.path} has to name one rule of songbook.auth in its dependencies"
            )
        return rules[0]

    @property
    def guards(self) -> dict[str, Guard]:
        """Return the guards of the handler by the name of its argument."""
        calls = {part.name: part.call for part in self.dependant.dependencies if part.name}
        return {
            name: cast("Guard", call) for name, call in calls.items() if hasattr(call, "refuses")
        }

    @property
    def alternative(self) -> Alternative | None:
        """Return the other body that the route takes, if it does."""
        calls = [part.call for part in self.dependant.dependencies]
        return next((call for call in calls if isinstance(call, Alternative)), None)

    @property
    def reads_body(self) -> bool:
        """Return whether the handler takes a body, of whatever type."""
        return bool(self._body_parts)

    @property
    def reads_form(self) -> bool:
        """Return whether the body is a form."""
        return any(info.media_type == FORM for info in self._body_parts.values())

    @property
    def bodies(self) -> dict[str, type[BaseModel]]:
        """Return the models of the body by the name of the handler's argument."""
        found = {name: info.annotation for name, info in self._body_parts.items()}
        return {name: annotation for name, annotation in found.items() if _is_model(annotation)}

    @property
    def _body_parts(self) -> dict[str, Body]:
        found = {part.name: part.field_info for part in self.dependant.body_params}
        return {name: info for name, info in found.items() if isinstance(info, Body)}

    def _direct(self) -> Handler | None:
        """Return what asks the rule and the guards, reads the body and calls the endpoint."""
        endpoint, rule, guards, bodies = self.endpoint, self.rule, self.guards, self.bodies
        other = self.alternative
        answered = get_type_hints(endpoint).get("return")
        asked = signature(endpoint).parameters
        complete = (
            asked.keys() == {*guards, *bodies}
            and all(part.default is Parameter.empty for part in asked.values())
            and len(self.dependant.dependencies) == len(guards) + 1 + (other is not None)
            and len(bodies) <= 1
            and not self._embed_body_fields
            and isinstance(answered, type)
            and issubclass(answered, Response)
        )
        if not complete:
            return None
        form = self.reads_form

        async def handle(request: StrictRequest) -> Response:
            await rule(request)
            if other and _takes(other, request):
                return await _ended(request, other.answer(request))
            values = {name: await call(request) for name, call in guards.items()}
            for name, model in bodies.items():
                request.form_encoded = form
                values[name] = await read_body(request, model)
            return await _ended(request, endpoint(**values))

        return handle


def _takes(other: Alternative, request: StrictRequest) -> bool:
    """Return whether the body is for the alternative; a refusal will name its media types, too."""
    request.others = other.media_types
    return media_type_of(request) in other.media_types


async def _ended(request: Request, answering: Awaitable[Response]) -> Response:
    """Return the answer when what a guard began for the handler has ended, well or badly."""
    try:
        answer = await answering
    except BaseException as error:
        begun: Ending | None = request.scope.get("write")
        if begun is None:
            raise
        return await begun.failed(error)
    begun = request.scope.get("write")
    return await begun.concluded(answer) if begun else answer


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
