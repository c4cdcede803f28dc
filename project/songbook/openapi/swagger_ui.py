"""Swagger UI, self-hosted, and who may read the OpenAPI document."""

from collections.abc import Awaitable, Callable

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from songbook.auth import SIGNED_IN
from songbook.http import Assets, Router, ServiceState
from songbook.openapi.stored import document_response

_DOCUMENT = "/openapi.json"
_ASSETS = Assets("songbook.openapi", "/docs/assets")
_CONSOLE = ' <a href="{prefix}/console">Console</a>'


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
    has_console = app.state.service.settings.console

    async def page(request: Request) -> HTMLResponse:
        return _ASSETS.page(request, console=_CONSOLE if has_console else "")

    app.add_route("/docs", page, include_in_schema=False)
    _ASSETS.add_to(app)
