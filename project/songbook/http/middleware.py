"""What every request passes first, and the headers that every answer carries."""

import re
from collections.abc import Sequence
from secrets import token_hex

from fastapi.routing import iter_route_contexts
from starlette._utils import get_route_path
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import BaseRoute, compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from songbook.errors.handlers import handle
from songbook.errors.problems import MethodNotAllowed, NotFound
from songbook.http.cors import CrossOrigin
from songbook.http.requests import StrictRequest
from songbook.http.routing import Route

Headers = list[tuple[bytes, bytes]]
Methods = dict[str, BaseRoute]

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_ALWAYS: Headers = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]
_UNLESS_SAID: Headers = [
    (b"cache-control", b"no-cache"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]


class Front:
    """The layer that knows the addresses of the service.

    A path is answered with one trailing slash as without it, and so is the prefix of the service;
    HEAD as GET without the body; OPTIONS, and a method that the address does not have, with the
    complete Allow (RFC 9110, section 9). A literal path hides a template: it has its own methods
    only. What is not an address of the table goes on to the application.
    """

    def __init__(self, app: ASGIApp, origins: Sequence[str] = ()) -> None:
        self.app = app
        self._inner: ASGIApp = CrossOrigin(self._respond, origins) if origins else self._respond
        self._routes = 0
        self._literal: dict[str, Methods] = {}
        self._templates: dict[str, tuple[re.Pattern[str], Methods]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope = {**scope, "request_id": _request_id(scope["headers"])}
        path = get_route_path(scope)
        if not path:
            scope["path"] += "/"
        elif path.endswith("/") and path.strip("/"):
            scope["path"] = scope["path"][:-1]
        scope["outgoing"] = _Outgoing(scope, send)
        await self._inner(scope, receive, scope["outgoing"])

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer of the address, or of what went wrong on the way to it."""
        request = StrictRequest(scope, receive)
        try:
            response = await self._answer(request)
            await (response or self.app)(scope, receive, send)
        except ClientDisconnect:
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer
            response = await handle(request, error)
            if not scope["outgoing"].started:
                await response(scope, receive, send)

    async def _answer(self, request: StrictRequest) -> Response | None:
        """Return the answer of the address, None when the application has to find it."""
        scope = request.scope
        methods = self._methods_at(scope)
        if methods is None:
            return None
        asked = scope["method"]
        if asked == "HEAD":
            scope["method"] = "GET"
        if scope["method"] in methods:
            route = methods[scope["method"]]
            if isinstance(route, Route) and route.direct and not scope["app"].dependency_overrides:
                scope["route"] = route
                return await route.direct(request)
            return None
        allow = {
            "Allow": ", ".join(
                sorted({*methods, "OPTIONS"} | ({"HEAD"} if "GET" in methods else set()))
            )
        }
        if asked == "OPTIONS":
            return Response(status_code=204, headers=allow)
        raise MethodNotAllowed(headers=allow)

    def _methods_at(self, scope: Scope) -> Methods | None:
        """Return the methods of a path and what answers them, None when the path is unknown."""
        if len(scope["app"].routes) != self._routes:
            self._learn(scope["app"].routes)
        path = get_route_path(scope)
        if path in self._literal:
            return self._literal[path]
        for pattern, methods in self._templates.values():
            if match := pattern.fullmatch(path):
                scope["path_params"] = match.groupdict()
                return methods
        if path.endswith("\n"):  # which the `$` of Starlette's patterns would let pass
            raise NotFound
        return None

    def _learn(self, routes: list[BaseRoute]) -> None:
        """Take the addresses of the routes into the table."""
        self._routes = len(routes)
        for own in routes:
            for context in iter_route_contexts([own]):
                path = context.path
                if path is None or not context.methods:
                    continue
                if "{" in path:
                    methods = self._templates.setdefault(path, (compile_path(path)[0], {}))[1]
                else:
                    methods = self._literal.setdefault(path, {})
                for method in context.methods:
                    methods.setdefault(method, own)


class _Outgoing:
    """Sends an answer with the headers that every answer carries, and without a body to HEAD."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.headers = [(b"x-request-id", scope["request_id"].encode()), *_ALWAYS]
        self.bodiless = scope["method"] == "HEAD"
        self.send = send
        self.started = False

    async def __call__(self, message: Message) -> None:
        """Send one message of the answer."""
        if message["type"] == "http.response.start":
            names = {name.lower() for name, _ in message["headers"]}
            defaults = [header for header in _UNLESS_SAID if header[0] not in names]
            message = {**message, "headers": [*message["headers"], *self.headers, *defaults]}
        elif self.bodiless:
            message = {**message, "body": b""}
        await self.send(message)
        self.started = True


def _request_id(headers: Headers) -> str:
    """Return the client's request id when it is harmless, else a new one."""
    for name, value in headers:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return value.decode()
    return token_hex(8)
