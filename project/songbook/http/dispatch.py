"""Dispatch by path and method."""

import re
from copy import copy
from typing import NamedTuple

from fastapi import FastAPI
from starlette.responses import Response
from starlette.routing import BaseRoute, compile_path
from starlette.routing import Route as StarletteRoute
from starlette.types import Scope

from songbook.errors import MethodNotAllowed, NotFound
from songbook.http.compat import TELEMETRY, get_route_path, iter_route_contexts, select_route
from songbook.http.media_types import FILE_SUFFIXES
from songbook.http.requests import StrictRequest
from songbook.http.routing import Route

Methods = dict[str, BaseRoute]


class _Path(NamedTuple):
    """The routes of a path template by method."""

    template: str
    methods: Methods


class Dispatcher:
    """The index of all routes by path and method.

    Responses to OPTIONS and 405 have the complete Allow (RFC 9110, section 9). A literal path hides
    a template: it has its own methods only.
    """

    def __init__(self) -> None:
        self._indexed = 0
        self._literal: dict[str, _Path] = {}
        self._templates: dict[str, tuple[re.Pattern[str], _Path]] = {}

    async def respond(self, request: StrictRequest) -> Response | None:
        """Return the response of a route that is called directly, None to let FastAPI route.

        Raises MethodNotAllowed and NotFound. Routes see HEAD as GET; `original_method` keeps it.
        """
        scope = request.scope
        path = self._match(scope)
        if path is None:
            return None
        request.template, methods = path
        if TELEMETRY in scope:  # FastAPI names the span only where its own router does this
            select_route(scope=scope, path=path.template)
        method = scope["method"]
        if method == "HEAD":
            scope["method"], scope["original_method"] = "GET", "HEAD"
        if scope["method"] in methods:
            route = methods[scope["method"]]
            if isinstance(route, Route) and route.direct and not scope["app"].dependency_overrides:
                return await route.direct(request)
            return None
        head = {"HEAD"} if "GET" in methods else set()
        allow = {"Allow": ", ".join(sorted({*methods, "OPTIONS"} | head))}
        if method == "OPTIONS":
            if any(isinstance(route, Route) and route.no_store for route in methods.values()):
                allow["Cache-Control"] = "no-store"
            return Response(status_code=204, headers=allow)
        raise MethodNotAllowed(headers=allow)

    def _match(self, scope: Scope) -> _Path | None:
        """Return the routes of a path, None for an unknown path.

        Raises NotFound for an encoded slash, which is no `/` (RFC 3986, section 2.2).
        """
        raw_path: bytes = scope.get("raw_path") or b""  # ASGI servers need not give it
        if b"%" in raw_path and b"%2f" in raw_path.lower():
            raise NotFound  # decoded it would separate segments
        path, routes = get_route_path(scope), scope["app"].routes
        found = self._look_up(path, scope)
        if found is None and len(routes) != self._indexed:  # routes were added
            self._index(routes)
            found = self._look_up(path, scope)
        if found is None and path != scope["path"]:
            found = self._look_up(scope["path"], scope)
            if found:  # it begins as the root path does, which a proxy has removed
                scope["path"] = scope["root_path"] + scope["path"]
        if found is None and path.endswith("\n"):  # Starlette's patterns would match it
            raise NotFound
        return found

    def _look_up(self, path: str, scope: Scope) -> _Path | None:
        if path in self._literal:
            return self._literal[path]
        for pattern, found in self._templates.values():
            if match := pattern.fullmatch(path):
                scope["path_params"] = match.groupdict()
                return found
        return None

    def _index(self, routes: list[BaseRoute]) -> None:
        """Add the paths and methods of the routes."""
        self._indexed = len(routes)
        for own in routes:
            for context in iter_route_contexts([own]):
                path = context.path
                if path is None or not context.methods:
                    continue
                added = _Path(path, {})
                if "{" in path:
                    pattern = compile_path(path)[0]
                    added = self._templates.setdefault(path, (pattern, added))[1]
                else:
                    added = self._literal.setdefault(path, added)
                for method in context.methods:
                    added.methods.setdefault(method, own)


def add_alias(app: FastAPI, alias: str, path: str) -> None:
    """Serve `path`, the paths below it and its files at `alias` too, outside the document."""
    parts = ("/", *(f".{suffix}/" for suffix in FILE_SUFFIXES.values()))
    beginnings = tuple(path + part for part in parts)
    for route in list(app.router.routes):
        if isinstance(route, StarletteRoute) and f"{route.path}/".startswith(beginnings):
            twin = copy(route)
            twin.path = alias + route.path.removeprefix(path)
            twin.path_regex, twin.path_format, twin.param_convertors = compile_path(twin.path)
            twin.include_in_schema = False
            app.router.routes.append(twin)
