"""The outermost middleware: request ids, default headers, HEAD, errors."""

import re
from collections.abc import Sequence
from secrets import token_hex

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from songbook.errors import handle
from songbook.http.compat import get_route_path
from songbook.http.cors import CORS
from songbook.http.dispatch import Dispatcher
from songbook.http.requests import StrictRequest

Headers = list[tuple[bytes, bytes]]

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_SECURITY_HEADERS: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]
_DEFAULT_HEADERS: Headers = [
    (b"cache-control", b"no-cache"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]


class HeadersMiddleware:
    """The outermost middleware, which also ignores one trailing slash of a path."""

    def __init__(self, app: ASGIApp, origins: Sequence[str] = ()) -> None:
        self.app = app
        self._inner: ASGIApp = CORS(self._respond, origins) if origins else self._respond
        self._dispatcher = Dispatcher()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope = {**scope, "request_id": _request_id(scope["headers"])}
        path = get_route_path(scope)
        if not path:
            scope["path"] += "/"
        elif path.endswith("/") and path.strip("/"):
            scope["path"] = scope["path"][:-1]
        await self._inner(scope, receive, send)

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response of the route, or that of the exception."""
        request, send = StrictRequest(scope, receive), _HeadersSender(scope, send)
        try:
            response = await self._dispatcher.respond(request)
            await (response or self.app)(scope, receive, send)
        except ClientDisconnect:
            return
        except Exception as error:  # noqa: BLE001 - every exception needs a response
            response = await handle(request, error)
            if not send.started:
                await response(scope, receive, send)


class _HeadersSender:
    """Sends a response with the default headers, without the body for HEAD."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.headers = [(b"x-request-id", scope["request_id"].encode()), *_SECURITY_HEADERS]
        self.bodiless = scope["method"] == "HEAD"
        self.send = send
        self.started = False

    async def __call__(self, message: Message) -> None:
        """Send one ASGI message."""
        if message["type"] == "http.response.start":
            names = {name.lower() for name, _ in message["headers"]}
            defaults = [header for header in _DEFAULT_HEADERS if header[0] not in names]
            message = {**message, "headers": [*message["headers"], *self.headers, *defaults]}
        elif self.bodiless:
            message = {**message, "body": b""}
        await self.send(message)
        self.started = True


def _request_id(headers: Headers) -> str:
    """Return the client's request id if it is valid, else a new one."""
    for name, value in headers:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return value.decode()
    return token_hex(8)
