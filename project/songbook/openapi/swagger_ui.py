"""Swagger UI, self-hosted, and who may read the OpenAPI document."""

import re
from base64 import b64encode
from collections.abc import Awaitable, Callable
from functools import cache
from hashlib import sha256
from html import escape
from importlib.resources import files

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

from songbook.auth import SIGNED_IN
from songbook.http import Router, ServiceState
from songbook.openapi.stored import document_response

_DOCUMENT = "/openapi.json"
_ASSETS = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png")
_INLINE_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


def add_docs(app: FastAPI) -> None:
    """Serve the OpenAPI document, and Swagger UI at /docs unless PUBLIC_DOCS=false."""
    service: ServiceState = app.state.service
    read_document = document_response(app)
    if service.settings.public_docs:
        app.add_route(_DOCUMENT, read_document, include_in_schema=False)
        _add_swagger_ui(app)
    elif service.accounts:
        app.router.routes.extend(_for_users(read_document).routes)


def _for_users(read_document: Callable[[Request], Awaitable[Response]]) -> Router:
    """Return the router of the document for signed-in users only."""
    router = Router(dependencies=[SIGNED_IN], no_store=True)

    @router.get(_DOCUMENT, include_in_schema=False)
    async def read_document_as_user(request: Request) -> Response:
        return await read_document(request)

    return router


def _add_swagger_ui(app: FastAPI) -> None:
    """Serve Swagger UI at /docs, under the root path if there is one."""

    async def docs(request: Request) -> HTMLResponse:
        page, policy = _page(app.title, request.scope.get("root_path", ""))
        return HTMLResponse(page, headers={"Content-Security-Policy": policy})

    async def asset(request: Request) -> Response:
        return await assets.get_response(request.url.path.rpartition("/")[2], request.scope)

    assets = StaticFiles(directory=str(files("fastapi_offline") / "static"))
    app.add_api_route("/docs", docs, include_in_schema=False)
    for name in _ASSETS:  # a mount would have its own 404 and 405
        app.add_route(f"/docs/assets/{name}", asset, include_in_schema=False)


@cache
def _page(title: str, prefix: str) -> tuple[bytes, str]:
    """Return the page and a Content-Security-Policy that allows its own scripts only."""
    page = get_swagger_ui_html(
        openapi_url=f"{prefix}{_DOCUMENT}",
        title=escape(title),
        swagger_js_url=f"{prefix}/docs/assets/swagger-ui-bundle.js",
        swagger_css_url=f"{prefix}/docs/assets/swagger-ui.css",
        swagger_favicon_url=f"{prefix}/docs/assets/favicon.png",
    )
    # also at an alias, as the token URL in the document is relative to the page
    home = f"history.replaceState(null, '', '{prefix}/docs' + location.hash);"
    body = bytes(page.body).replace(b"<script>", f"<script>\n    {home}".encode(), 1)
    digests = [b64encode(sha256(each).digest()).decode() for each in _INLINE_SCRIPT.findall(body)]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    policy = (
        f"default-src 'none'; script-src 'self' {allowed}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'"
    )
    return body, policy
