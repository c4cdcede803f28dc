"""Cross-origin requests (https://fetch.spec.whatwg.org/#http-cors-protocol)."""

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ALLOW_HEADERS = ("Authorization", "If-Match", "If-None-Match", "Idempotency-Key", "X-Request-ID")
_EXPOSE_HEADERS = (
    "Content-Disposition, ETag, Idempotency-Replayed, Link, Location, Retry-After, X-Next-Cursor,"
    " X-Request-ID, X-Total-Count, X-Total-Count-Estimated"
)


class CORS(CORSMiddleware):
    """Allows requests from these origins, without cookies."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"),
            allow_headers=_ALLOW_HEADERS,
            expose_headers=(_EXPOSE_HEADERS,),
        )

    def preflight_response(self, request_headers: Headers) -> ASGIApp:  # type: ignore[override] # it is called as one
        """Return an app that responds to OPTIONS, with the headers that Starlette would add."""
        preflight = super().preflight_response(request_headers)
        names = (b"access-control-", b"vary") if preflight.status_code == 200 else b"vary"
        headers = [header for header in preflight.raw_headers if header[0].startswith(names)]

        async def respond(scope: Scope, receive: Receive, send: Send) -> None:
            async def send_with_headers(message: Message) -> None:
                if message["type"] == "http.response.start":
                    message["headers"] = [*message["headers"], *headers]
                await send(message)

            await self.app(scope, receive, send_with_headers)

        return respond
