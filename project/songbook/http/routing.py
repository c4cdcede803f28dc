"""Routes whose handlers are called directly, with what their dependencies return.

Every route names the permission of who may call it. A handler whose arguments are dependencies that
read the request alone, query parameters, the request and at most one body is called directly, which
takes a third of the time; any other is called by FastAPI, with the same bodies and failures.
"""

from collections.abc import Awaitable, Callable, Coroutine, Iterator
from copy import copy
from functools import partial
from inspect import Parameter, signature
from typing import Any, TypeAlias, TypeGuard, get_type_hints

from fastapi import APIRouter
from fastapi.dependencies.models import Dependant
from fastapi.params import Body
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from songbook.http.completion import Completion
from songbook.http.dependencies import BulkBody, Dependency, OpeningDependency, Permission
from songbook.http.media_types import JSON
from songbook.http.query_params import query_params_of, read_params
from songbook.http.requests import (
    FORM,
    MERGE_PATCH,
    RouteInfo,
    StrictRequest,
    declared_media_type,
    read_body,
    unsupported_media_type,
)

Handler = Callable[[StrictRequest], Coroutine[Any, Any, Response]]

_Arguments: TypeAlias = tuple[dict[str, Any], Completion | None]


class Route(APIRoute):
    """A route whose body is read strictly, whose handler is called directly if it can be."""

    direct: Handler | None = None

    def __init__(self, path: str, *, bulk: BulkBody | None = None, **options: Any) -> None:
        self.bulk = bulk
        super().__init__(path, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's own handler, given a request whose body is read strictly."""
        solve, permission, bulk, info = (
            super().get_route_handler(),
            self.permission,
            self.bulk,
            self.info,
        )
        accepted, params = self.media_types, query_params_of(self.dependant)
        self.direct = self._direct() if self._is_direct() else None

        async def handle(given: Request) -> Response:
            request = StrictRequest(given.scope, given.receive, form=accepted == (FORM,))
            request.route = info
            media_type = declared_media_type(request, accepted)
            overrides = request.app.dependency_overrides
            if permission not in overrides:
                request.principal = await permission(request)
            if bulk and media_type in bulk.media_types:
                return await _completed(*await bulk.open(request, media_type))
            if accepted:
                if media_type is None:
                    raise unsupported_media_type(request, accepted)
                await request.json()  # what FastAPI's own reading raises becomes a 400 of its own
            if params and not overrides:
                read_params(request, params)
            response = (self._overridden(request.app) if overrides else solve)(request)
            return await _completed(_Begun(request), response)

        return handle

    def _overridden(self, app: Any) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's own handler for an application that overrides dependencies.

        Several applications may share a route, which belongs to none of them.
        """
        own = copy(self)
        own.dependency_overrides_provider = app
        return APIRoute.get_route_handler(own)

    @property
    def info(self) -> RouteInfo:
        """Return what the dependencies need to know of the route."""
        parts = [*_parts(self.dependant)]
        found = [part.call for part in parts if isinstance(part.call, Dependency)]
        known = [each for dependency in found for each in dependency.parameters]
        known += [param.parameter for part in parts for param in query_params_of(part)]
        return RouteInfo(
            self.path,
            tuple(each for each in known if each["in"] == "query"),
            any(dependency.parses_query for dependency in found),
        )

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
            and sum(isinstance(each, OpeningDependency) for each in named.values()) <= 1
            and len(bodies) <= 1
            and (not fields or self.body_field is fields[0])  # else it is a member of the body
            and isinstance(returned, type)
            and issubclass(returned, Response)
        )

    def _direct(self) -> Handler:
        """Return a function that calls the handler with all that it asks for."""
        endpoint, permission, bulk, info = self.endpoint, self.permission, self.bulk, self.info
        accepted, arguments = self.media_types, self._arguments()

        async def handle(request: StrictRequest) -> Response:
            request.route = info
            media_type = declared_media_type(request, accepted) if accepted else None
            completion: Completion | None
            if bulk and media_type in bulk.media_types:
                request.principal = await permission(request)
                completion, answering = await bulk.open(request, media_type)
            else:
                values, completion = await arguments(request, media_type)
                answering = endpoint(**values)
            try:
                response = await answering
            except BaseException as error:
                if completion is None:
                    raise
                return await completion.rollback(error)
            return await completion.commit(response) if completion else response

        return handle

    def _arguments(self) -> Callable[[StrictRequest, str | None], Awaitable[_Arguments]]:
        """Return a function that asks the permission, calls the dependencies, reads the body."""
        permission, accepted, bodies = self.permission, self.media_types, self.bodies
        request_name, params = self.dependant.request_param_name, query_params_of(self.dependant)
        opening = {
            name: each.call
            for name, each in self.request_dependencies.items()
            if isinstance(each, OpeningDependency)
        }
        others = self.request_dependencies.keys() - opening.keys()
        calls = {n: each.call for n, each in self.request_dependencies.items() if n in others}

        async def arguments(request: StrictRequest, media_type: str | None) -> _Arguments:
            request.principal = await permission(request)
            if accepted and media_type is None:
                raise unsupported_media_type(request, accepted)
            values: dict[str, Any] = {request_name: request} if request_name else {}
            completion = None
            for name, call in calls.items():
                values[name] = await call(request)
            for name, open_ in opening.items():
                values[name], completion = await open_(request)
            for name, model in bodies.items():
                values[name] = await read_body(request, model, form=media_type == FORM)
            return values | read_params(request, params) if params else values, completion

        return arguments


class _Begun(Completion):
    """What the dependencies that FastAPI calls for a request will have begun."""

    def __init__(self, request: StrictRequest) -> None:
        self._request = request

    async def commit(self, response: Response) -> Response:
        begun = self._request.completion
        return await begun.commit(response) if begun else response

    async def rollback(self, error: BaseException) -> Response:
        if self._request.completion is None:
            raise error
        return await self._request.completion.rollback(error)


async def _completed(completion: Completion, answering: Awaitable[Response]) -> Response:
    """Return the response when what was begun for it has ended, well or badly."""
    try:
        response = await answering
    except BaseException as error:  # noqa: BLE001 - it is raised again where it should be
        return await completion.rollback(error)
    return await completion.commit(response)


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
