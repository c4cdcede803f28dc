"""The outermost middleware: request ids, default headers, HEAD, errors."""

import re
from collections.abc import Sequence
from http import HTTPMethod
from secrets import token_hex
from time import perf_counter

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from songbook.db import Timing
from songbook.errors import handle
from songbook.http.access_log import Access, AccessLog
from songbook.http.compat import get_route_path
from songbook.http.cors import CORS
from songbook.http.dispatch import Dispatcher
from songbook.http.requests import TIMING, Principal, StrictRequest
from songbook.http.telemetry import trace_id
from songbook.metrics import Histogram

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
_DISCONNECTED = 499
"""The status of a request whose client has gone before its response, as nginx calls it."""

_METHODS = frozenset(HTTPMethod)
_DURATION = Histogram(
    "songbook_http_request_duration_seconds",
    "The time from the head of a request to the end of its response.",
    ("route", "method", "status"),
)


class HeadersMiddleware:
    """The outermost middleware, which also ignores one trailing slash of a path.

    With `timing` responses have Server-Timing, which production does not: the time that a statement
    took can tell what it found.
    """

    def __init__(
        self,
        app: ASGIApp,
        origins: Sequence[str] = (),
        root_path: str = "",
        access_log: AccessLog | None = None,
        *,
        timing: bool = False,
    ) -> None:
        self.app = app
        self._has_timing = timing
        self._root_path = root_path
        self._access_log = access_log
        self._inner: ASGIApp = CORS(self._respond, origins) if origins else self._respond
        self._dispatcher = Dispatcher()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope = {**scope, "request_id": _request_id(scope["headers"])}
        if self._has_timing:
            scope[TIMING] = Timing()
        if self._root_path:
            _put_below(scope, self._root_path)
        path = get_route_path(scope)
        if not path:
            scope["path"] += "/"
        elif path.endswith("/") and path.strip("/"):
            scope["path"] = scope["path"][:-1]
        await self._inner(scope, receive, send)

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response of the route, or that of the exception; measure it."""
        begun = perf_counter()
        request, sender = StrictRequest(scope, receive), _HeadersSender(scope, send)
        try:
            response = await self._dispatcher.respond(request)
            await (response or self.app)(scope, receive, sender)
        except ClientDisconnect:
            return
        except Exception as error:  # noqa: BLE001 - every exception needs a response
            response = await handle(request, error)
            if not sender.started:
                await response(scope, receive, sender)
        finally:
            self._measure(request, sender, perf_counter() - begun)

    def _measure(self, request: StrictRequest, sender: "_HeadersSender", seconds: float) -> None:
        """Count the request, and write its line to the access log."""
        method = sender.method if sender.method in _METHODS else "other"
        _DURATION.observe(seconds, request.template, method, str(sender.status))
        if self._access_log:
            # FastAPI makes a request of its own for the same scope
            user = request.principal or request.scope.get("user")
            self._access_log.write(
                Access(
                    method,
                    request.template,
                    sender.status,
                    seconds,
                    sender.size,
                    request.scope["request_id"],
                    trace_id(request.scope),
                    user.id if isinstance(user, Principal) else None,
                )
            )


def _put_below(scope: Scope, root_path: str) -> None:
    """Set the root path, and put it before the path if a proxy has removed it."""
    scope["root_path"] = root_path
    path = scope["path"]
    if get_route_path(scope) == path:
        scope["path"] = root_path + path


class _HeadersSender:
    """Sends a response with the default headers, without the body for HEAD."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.headers = [(b"x-request-id", scope["request_id"].encode()), *_SECURITY_HEADERS]
        self.method: str = scope["method"]
        self.timing: Timing | None = scope.get(TIMING)
        self.send = send
        self.started = False
        self.status = _DISCONNECTED
        self.size = 0
        """The bytes of the content that were sent."""

    async def __call__(self, message: Message) -> None:
        """Send one ASGI message."""
        if message["type"] == "http.response.start":
            names = {name.lower() for name, _ in message["headers"]}
            defaults = [header for header in _DEFAULT_HEADERS if header[0] not in names]
            self.status = message["status"]
            if self.timing:
                defaults.append((b"server-timing", self.timing.header()))
            message = {**message, "headers": [*message["headers"], *self.headers, *defaults]}
        elif self.method == "HEAD":
            message = {**message, "body": b""}
        else:
            self.size += len(message.get("body", b""))
        await self.send(message)
        self.started = True


def _request_id(headers: Headers) -> str:
    """Return the client's request id if it is valid, else a new one."""
    for name, value in headers:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return value.decode()
    return token_hex(8)
