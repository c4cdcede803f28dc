"""What every request passes first: its id, the headers of every answer, HEAD, failures."""

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
_ALWAYS: Headers = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]
_UNLESS_SAID: Headers = [
    (b"cache-control", b"no-cache"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]


class HeadersMiddleware:
    """The outermost layer.

    A path is answered with one trailing slash as without it, and so is the prefix of the service;
    HEAD as GET without the body. Every answer has an id and headers; every exception becomes one.
    """

    def __init__(self, app: ASGIApp, origins: Sequence[str] = ()) -> None:
        self.app = app
        self._inner: ASGIApp = CORS(self._respond, origins) if origins else self._respond
        self._dispatcher = Dispatcher()

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
        await self._inner(scope, receive, send)

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer of the address, or of what went wrong on the way to it."""
        request, send = StrictRequest(scope, receive), _Outgoing(scope, send)
        try:
            response = await self._dispatcher.answer(request)
            await (response or self.app)(scope, receive, send)
        except ClientDisconnect:
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer
            response = await handle(request, error)
            if not send.started:
                await response(scope, receive, send)


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
