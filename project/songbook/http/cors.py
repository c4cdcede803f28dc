"""Pages of other origins: which may call the service, and what their browsers are told.

https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SENT = ("Authorization", "If-Match", "If-None-Match", "Idempotency-Key", "X-Request-ID")
_SHOWN = "ETag, Idempotency-Replayed, Link, Location, Retry-After, X-Request-ID, X-Total-Count"


class CORS(CORSMiddleware):
    """Lets pages of these origins call the service, never with what a browser keeps.

    OPTIONS is answered as ever; a page of a named origin is told besides that it may go on.
    """

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"),
            allow_headers=_SENT,
            expose_headers=(_SHOWN,),
        )

    def preflight_response(self, request_headers: Headers) -> ASGIApp:  # type: ignore[override] # it is called as one
        """Return what answers OPTIONS, with the permission if Starlette would give it."""
        asked = super().preflight_response(request_headers)
        shown = (b"access-control-", b"vary") if asked.status_code == 200 else b"vary"
        permission = [header for header in asked.raw_headers if header[0].startswith(shown)]

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            async def tell(message: Message) -> None:
                if message["type"] == "http.response.start":
                    message["headers"] = [*message["headers"], *permission]
                await send(message)

            await self.app(scope, receive, tell)

        return answer
