"""Routes whose handlers are called directly, with what their dependencies return.

Every route names the permission of who may call it. A handler whose arguments are dependencies that
read the request alone, query parameters, the request and at most one body is called directly, which
takes a third of the time; any other is called by FastAPI, with the same bodies and failures.
"""

from collections.abc import Awaitable, Callable, Coroutine, Iterator
from copy import copy
from functools import partial
from inspect import Parameter, signature
from typing import Any, TypeGuard, get_type_hints

from fastapi import APIRouter
from fastapi.dependencies.models import Dependant
from fastapi.params import Body
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from songbook.http.dependencies import BulkBody, Dependency, OpeningDependency, Permission
from songbook.http.media_types import JSON
from songbook.http.query_params import query_params_of, read_params
from songbook.http.requests import (
    FORM,
    MERGE_PATCH,
    RouteInfo,
    StrictRequest,
    check_media_type,
    declared_media_type,
    read_body,
)

Handler = Callable[[StrictRequest], Coroutine[Any, Any, Response]]

_Call = Callable[[StrictRequest, str | None], Awaitable[Awaitable[Response]]]
"""Prepares the call of a handler of a request with a body of this media type."""


class Route(APIRoute):
    """A route whose body is read strictly, whose handler is called directly if it can be."""

    direct: Handler | None = None

    def __init__(self, path: str, *, bulk: BulkBody | None = None, **options: Any) -> None:
        self.bulk = bulk
        super().__init__(path, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's own handler, given a request whose body is read strictly."""
        solved = self._handler(self._by_fastapi(super().get_route_handler()))
        self.direct = self._handler(self._directly()) if self._is_direct() else None
        form = FORM in self.media_types

        async def handle(request: Request) -> Response:
            return await solved(StrictRequest(request.scope, request.receive, form=form))

        return handle

    def _handler(self, call: _Call) -> Handler:
        """Return a function that calls the handler by `call`, and ends what was begun for it."""
        permission, bulk, info, accepted = (self.permission, self.bulk, self.info, self.media_types)

        async def handle(request: StrictRequest) -> Response:
            request.route = info
            media_type = declared_media_type(request, accepted) if accepted else None
            is_called = False
            try:
                if bulk and media_type in bulk.media_types:
                    request.principal = await permission(request)
                    request.completion, responding = await bulk.open(request, media_type)
                else:
                    responding = await call(request, media_type)
                is_called = True
                response = await responding
            except BaseException as error:
                if request.completion is None:
                    raise
                return await request.completion.rollback(error, is_called=is_called)
            return await request.completion.commit(response) if request.completion else response

        return handle

    def _by_fastapi(self, solve: Callable[[Request], Coroutine[Any, Any, Response]]) -> _Call:
        """Return a function that has FastAPI call the dependencies and the handler."""
        permission, accepted = self.permission, self.media_types
        params = query_params_of(self.dependant)

        async def call(request: StrictRequest, media_type: str | None) -> Awaitable[Response]:
            overrides = request.app.dependency_overrides
            if permission not in overrides:
                request.principal = await permission(request)
            if accepted:
                check_media_type(request, media_type, accepted)
                await request.json()  # what FastAPI's own reading raises becomes a 400 of its own
            read_params(request, params)
            if not overrides:
                return solve(request)
            own = copy(self)  # several applications may share the route
            own.dependency_overrides_provider = request.app
            return APIRoute.get_route_handler(own)(request)

        return call

    def _directly(self) -> _Call:
        """Return a function that calls the dependencies and the handler."""
        permission, accepted, bodies = self.permission, self.media_types, self.bodies
        request_name, params = self.dependant.request_param_name, query_params_of(self.dependant)
        endpoint, named = self.endpoint, self.request_dependencies.items()
        opening = {n: each.call for n, each in named if isinstance(each, OpeningDependency)}
        reading = {name: each.call for name, each in named if name not in opening}

        async def call(request: StrictRequest, media_type: str | None) -> Awaitable[Response]:
            request.principal = await permission(request)
            if accepted and media_type is None:
                check_media_type(request, media_type, accepted)
            values: dict[str, Any] = {request_name: request} if request_name else {}
            for name, read in reading.items():
                values[name] = await read(request)
            for name, open_ in opening.items():
                values[name], request.completion = await open_(request)
            for name, model in bodies.items():
                values[name] = await read_body(request, model, form=media_type == FORM)
            if params:
                values |= read_params(request, params)
            responding: Awaitable[Response] = endpoint(**values)
            return responding

        return call

    @property
    def info(self) -> RouteInfo:
        """Return what the dependencies need to know of the route.

        Raises TypeError for two that begin a transaction: only one of them could end it.
        """
        parts = [*_parts(self.dependant)]
        calls = dict.fromkeys(part.call for part in parts)
        found = [call for call in calls if isinstance(call, Dependency)]
        if sum(isinstance(each, OpeningDependency) for each in found) > 1:
            raise TypeError(f"{self.path} asks for more than one transaction")
        known = [each for dependency in found for each in dependency.parameters]
        known += [param.parameter for part in parts for param in query_params_of(part)]
        query_parameters = tuple(each for each in known if each["in"] == "query")
        return RouteInfo(self.path, query_parameters, any(each.parses_query for each in found))

    @property
    def permission(self) -> Permission:
        """Return who may call the route; raise TypeError if it does not name one permission."""
        calls = [part.call for part in self.dependant.dependencies]
        permissions = [call for call in calls if isinstance(call, Permission)]
        if len(permissions) != 1:
            raise TypeError(
                f"{self.path} has to name one permission of songbook.auth in its dependencies"
            )
        return permissions[0]

    @property
    def request_dependencies(self) -> dict[str, Dependency[Any]]:
        """Return the dependencies that read the request alone, by the handler's arguments."""
        calls = {part.name: part.call for part in self.dependant.dependencies if part.name}
        return {name: call for name, call in calls.items() if isinstance(call, Dependency)}

    @property
    def media_types(self) -> tuple[str, ...]:
        """Return the media types of the bodies that the route takes; none without a body."""
        kinds = {info.media_type for info in self._body_parts.values()}
        own: tuple[str, ...] = (JSON, MERGE_PATCH) if "PATCH" in (self.methods or ()) else (JSON,)
        own = (FORM,) if FORM in kinds else own if kinds else ()
        return (*own, *(self.bulk.media_types if self.bulk else ()))

    @property
    def bodies(self) -> dict[str, type[BaseModel]]:
        """Return the models of the body by the name of the handler's argument."""
        found = {name: info.annotation for name, info in self._body_parts.items()}
        return {name: annotation for name, annotation in found.items() if _is_model(annotation)}

    @property
    def _body_parts(self) -> dict[str, Body]:
        found = {part.name: part.field_info for part in self.dependant.body_params}
        return {name: info for name, info in found.items() if isinstance(info, Body)}

    def _is_direct(self) -> bool:
        """Return whether nothing is asked that FastAPI alone can give."""
        named, bodies = self.request_dependencies, self.bodies
        others = {each.name for each in query_params_of(self.dependant)}
        if self.dependant.request_param_name:
            others.add(self.dependant.request_param_name)
        parameters = signature(self.endpoint).parameters
        returned = get_type_hints(self.endpoint).get("return")
        [*fields] = self.dependant.body_params
        return (
            parameters.keys() == {*named, *bodies, *others}
            and all(parameters[name].default is Parameter.empty for name in {*named, *bodies})
            and len(self.dependant.dependencies) == len(named) + 1
            and len(bodies) <= 1
            and sum(isinstance(each, OpeningDependency) for each in named.values()) <= 1
            and (not fields or self.body_field is fields[0])  # else it is a member of the body
            and isinstance(returned, type)
            and issubclass(returned, Response)
        )


def _parts(dependant: Dependant) -> Iterator[Dependant]:
    """Give a handler's dependencies, those of dependencies among them, and the handler."""
    yield dependant
    for each in dependant.dependencies:
        yield from _parts(each)


def _is_model(annotation: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


class Router(APIRouter):
    """The routes of a resource."""

    def __init__(self, **options: Any) -> None:
        super().__init__(route_class=Route, **options | {"redirect_slashes": False})

    def post(  # type: ignore[override] # it takes all that FastAPI's does, and `bulk`
        self, path: str, *, bulk: BulkBody | None = None, **options: Any
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Add a route for POST, which with `bulk` takes many rows at once, too."""
        route_class: Any = partial(Route, bulk=bulk) if bulk else None

        def decorate(endpoint: Callable[..., Any]) -> Callable[..., Any]:
            self.add_api_route(
                path, endpoint, methods=["POST"], route_class_override=route_class, **options
            )
            return endpoint

        return decorate
