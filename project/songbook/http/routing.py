"""Routes that call their handlers directly, and their router.

A handler whose arguments are dependencies of the request alone, query parameters, the request and
one body is called directly, in a third of the time; others are called by FastAPI, with the same
bodies and errors.
"""

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import nullcontext
from copy import copy
from functools import cached_property, partial
from inspect import Parameter, signature
from typing import Any, TypeGuard, get_args, get_origin, get_type_hints

from fastapi import APIRouter
from fastapi.dependencies.models import Dependant
from fastapi.params import Body, Form
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from songbook.errors import Problem
from songbook.http.dependencies import (
    BulkBody,
    Dependency,
    OpeningDependency,
    Permission,
    RelatedDependency,
)
from songbook.http.media_types import ALIASES, FILE_SUFFIXES, JSON
from songbook.http.multipart import check_parts
from songbook.http.query_options import defaults_of
from songbook.http.query_params import QueryParam, query_params_of, read_params
from songbook.http.requests import (
    FORM,
    MERGE_PATCH,
    MULTIPART,
    RouteInfo,
    StrictRequest,
    declared_media_type,
    read_body,
    unsupported_media_type,
)
from songbook.models import Record, Representation

Handler = Callable[[StrictRequest], Coroutine[Any, Any, Response]]

_Solve = Callable[[Request], Coroutine[Any, Any, Response]]

_Call = Callable[[StrictRequest, str | None], Awaitable[Awaitable[Response]]]
"""Resolves the arguments for a request with this media type, and returns the handler's call."""


class Route(APIRoute):
    """A route with strict bodies and one permission, called directly if possible."""

    direct: Handler | None = None

    file_type: str | None = None
    """The media type of the file at the path; the headers select it where there is none."""

    def __init__(
        self, path: str, *, bulk: BulkBody | None = None, no_store: bool = False, **options: Any
    ) -> None:
        self.bulk, self.no_store = bulk, no_store
        try:
            super().__init__(path, **options)
        except RuntimeError as error:
            if "python-multipart" not in str(error):
                raise
            advice = "`pip install -r requirements-uploads.txt`"
            raise TypeError(f"{path} reads forms or files, which needs {advice}") from error

    def get_route_handler(self) -> _Solve:
        """Return FastAPI's handler, with a StrictRequest."""
        solved = self._handler(self._by_fastapi(super().get_route_handler()))
        self.direct = self._handler(self._directly()) if self._is_direct() else None
        form = FORM in self.media_types

        async def handle(request: Request) -> Response:
            return await solved(StrictRequest(request.scope, request.receive, form=form))

        return handle

    def _handler(self, call: _Call) -> Handler:
        """Return a function that calls the handler and ends its transaction."""
        permission, bulk, info, accepted = (self.permission, self.bulk, self.info, self.media_types)
        formats = self.formats

        async def handle(request: StrictRequest) -> Response:
            request.route = info
            media_type = declared_media_type(request, accepted) if accepted else None
            is_called = False
            try:
                if bulk and media_type and (file_type := formats.get(media_type)):
                    request.sign_in(await permission(request))
                    request.completion, responding = await bulk.open(request, file_type)
                else:
                    responding = await call(request, media_type)
                is_called = True
                response = await responding
            except BaseException as error:
                if request.completion is None:
                    raise
                return await request.completion.rollback(error, is_called=is_called)
            return await request.completion.commit(response) if request.completion else response

        caching = "private, no-cache" if permission.is_private else ""
        caching = "no-store" if self.no_store else caching
        return _with_cache_control(handle, caching) if caching else handle

    def _by_fastapi(self, solve: _Solve) -> _Call:
        """Return a function that lets FastAPI call the dependencies and the handler."""
        permission, accepted, parts = self.permission, self.media_types, self.form_parts
        params = self.query_params
        is_form = self.body_field is not None and isinstance(self.body_field.field_info, Form)

        async def call(request: StrictRequest, media_type: str | None) -> Awaitable[Response]:
            overrides = request.app.dependency_overrides
            if permission not in overrides:
                request.sign_in(await permission(request))
            if accepted and media_type is None:
                raise unsupported_media_type(request, accepted)
            if accepted and not is_form:
                await request.json()  # before FastAPI, which would raise other errors
            read_params(request, params)
            solving = solve
            if overrides:
                route = copy(self)  # several applications may share this one
                route.dependency_overrides_provider = request.app
                solving = APIRoute.get_route_handler(route)
            return _with_form(request, parts, media_type, solving) if is_form else solving(request)

        return call

    def _directly(self) -> _Call:
        """Return a function that calls the dependencies and the handler."""
        permission, accepted, bodies = self.permission, self.media_types, self.bodies
        request_name, params = self.dependant.request_param_name, self.query_params
        endpoint, named = self.endpoint, self.request_dependencies.items()
        opening = {n: each.call for n, each in named if isinstance(each, OpeningDependency)}
        reading = {name: each.call for name, each in named if name not in opening}

        async def call(request: StrictRequest, media_type: str | None) -> Awaitable[Response]:
            request.principal = await permission(request)
            if accepted and media_type is None:
                raise unsupported_media_type(request, accepted)
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

    @cached_property
    def query_params(self) -> list[QueryParam]:
        """The query parameters of the handler itself."""
        return query_params_of(self.dependant)

    @cached_property
    def info(self) -> RouteInfo:
        """The route for its dependencies. Raises TypeError for more than one transaction."""
        parts = [*dependants_of(self.dependant)]
        calls = dict.fromkeys(part.call for part in parts)
        dependencies = [call for call in calls if isinstance(call, Dependency)]
        if sum(isinstance(each, OpeningDependency) for each in dependencies) > 1:
            raise TypeError(f"{self.path} depends on more than one transaction")
        parameters = [each for dependency in dependencies for each in dependency.parameters]
        parameters += [param.parameter for part in parts for param in query_params_of(part)]
        query = tuple(each for each in parameters if each["in"] == "query")
        parses_query = any(each.parses_query for each in dependencies)
        defaults = defaults_of((*query, *(self.bulk.parameters if self.bulk else ())))
        includes = self.permission.includes
        return RouteInfo(self.path, query, defaults, parses_query, includes, self.file_type)

    @property
    def permission(self) -> Permission:
        """The permission of the route. Raises TypeError unless there is exactly one."""
        calls = [part.call for part in self.dependant.dependencies]
        permissions = [call for call in calls if isinstance(call, Permission)]
        if len(permissions) != 1:
            raise TypeError(f"{self.path} needs one permission of songbook.auth as a dependency")
        return permissions[0]

    @property
    def request_dependencies(self) -> dict[str, Dependency[Any]]:
        """The dependencies of the request alone, by argument name."""
        calls = {part.name: part.call for part in self.dependant.dependencies if part.name}
        return {name: call for name, call in calls.items() if isinstance(call, Dependency)}

    @property
    def related_dependencies(self) -> list[RelatedDependency[Any]]:
        """The lists and the views that the route shows."""
        dependencies = self.request_dependencies.values()
        return [each for each in dependencies if isinstance(each, RelatedDependency)]

    @property
    def media_types(self) -> tuple[str, ...]:
        """The media types that the route accepts."""
        kinds = {info.media_type for info in self._body_parts.values()}
        own: tuple[str, ...] = (JSON, MERGE_PATCH) if "PATCH" in (self.methods or ()) else (JSON,)
        for form in (MULTIPART, FORM):
            if form in kinds:
                return (form,)
        own = own if kinds else ()
        return (*own, *self.formats)

    @property
    def formats(self) -> Mapping[str, str]:
        """The formats of bodies with many rows, by their media types."""
        own = self.bulk.media_types if self.bulk else ()
        aliases = {alias: each for alias, each in ALIASES.items() if each in own}
        return {each: each for each in own} | aliases

    @property
    def file_types(self) -> tuple[str, ...]:
        """The media types of the files that a list gives, or that are imported."""
        if self.bulk:
            return tuple(each for each in self.bulk.media_types if each in FILE_SUFFIXES)
        return tuple(each for one in self.related_dependencies for each in one.file_types)

    @property
    def form_parts(self) -> dict[str, bool]:
        """The names of the parts of a multipart body, and whether each may occur several times."""
        infos: dict[str, FieldInfo] = {}
        for part in self.dependant.body_params:
            model = part.field_info.annotation
            fields = model.model_fields if _is_model(model) else {part.name: part.field_info}
            infos |= {info.alias or name: info for name, info in fields.items()}
        return {name: _is_list(info.annotation) for name, info in infos.items()}

    @property
    def bodies(self) -> dict[str, type[BaseModel]]:
        """The models of the body by argument name."""
        types = {name: info.annotation for name, info in self._body_parts.items()}
        return {name: annotation for name, annotation in types.items() if _is_model(annotation)}

    @property
    def _body_parts(self) -> dict[str, Body]:
        infos = {part.name: part.field_info for part in self.dependant.body_params}
        return {name: info for name, info in infos.items() if isinstance(info, Body)}

    def _is_direct(self) -> bool:
        """Return whether the handler has no argument that only FastAPI resolves."""
        named, bodies = self.request_dependencies, self.bodies
        others = {each.name for each in self.query_params}
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
            and MULTIPART not in self.media_types
            and (not fields or self.body_field is fields[0])  # else it is a member of the body
            and isinstance(returned, type)
            and issubclass(returned, Response)
        )


async def _with_form(
    request: StrictRequest, parts: Mapping[str, bool], media_type: str | None, solve: _Solve
) -> Response:
    """Parse a form before FastAPI does, which closes its files behind the response.

    A multipart body has a place among those of imports, as it holds temporary files.
    """
    uploads = request.service.uploads
    place = uploads.place(request.sender, 0) if media_type == MULTIPART else nullcontext()
    async with place:
        form = await request.form()
        try:
            check_parts(form, parts)
        except Problem:
            await form.close()
            raise
        return await solve(request)


def _with_cache_control(handler: Handler, directives: str) -> Handler:
    """Return a handler whose responses have these directives (RFC 9111, section 5.2.2)."""

    async def handle(request: StrictRequest) -> Response:
        response = await handler(request)
        response.headers["Cache-Control"] = directives
        return response

    return handle


def dependants_of(dependant: Dependant) -> Iterator[Dependant]:
    """Iterate over a handler and all its dependencies."""
    yield dependant
    for each in dependant.dependencies:
        yield from dependants_of(each)


def shown_tables(routes: Iterable[BaseRoute]) -> list[type[Record]]:
    """Return the table classes whose records the lists and the views of the routes show."""
    return [each.table for each in shown_records(routes)]


def shown_records(routes: Iterable[BaseRoute]) -> list[Representation]:
    """Return what the lists and the views of the routes show."""
    return [
        each.shown
        for route in routes
        if isinstance(route, Route)
        for each in route.related_dependencies
    ]


def _is_model(annotation: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _is_list(annotation: Any) -> bool:
    """Return whether a field has many values; it may also be missing."""
    origins = {get_origin(each) for each in (annotation, *get_args(annotation))}
    return bool(origins & {list, set, tuple})


class Router(APIRouter):
    """The routes of a resource; with `no_store` no cache may store their responses."""

    def __init__(self, *, no_store: bool = False, **options: Any) -> None:
        self._route_class: Any = partial(Route, no_store=no_store)
        options |= {"route_class": self._route_class, "redirect_slashes": False}
        super().__init__(**options)

    def post(  # type: ignore[override] # FastAPI's parameters, and `bulk`
        self, path: str, *, bulk: BulkBody | None = None, **options: Any
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Add a route for POST, with `bulk` for many rows, too."""
        route_class: Any = partial(self._route_class, bulk=bulk) if bulk else None

        def decorate(endpoint: Callable[..., Any]) -> Callable[..., Any]:
            self.add_api_route(
                path, endpoint, methods=["POST"], route_class_override=route_class, **options
            )
            return endpoint

        return decorate
