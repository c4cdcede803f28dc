"""The routes of the console: its page, and the files that the page loads."""

from html import escape

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse

from songbook.http import Assets, ServiceState

_ASSETS = Assets("songbook.console", "/console/assets")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_DOCS = '<footer><a href="{prefix}/docs">Documentation of the API</a></footer>\n'


def add_console(app: FastAPI) -> None:
    """Serve the console at /console, under the root path if there is one.

    Its files are public: what they show comes from the API, with the permissions of the user.
    """
    service: ServiceState = app.state.service

    async def page(request: Request) -> HTMLResponse:
        prefix = escape(request.scope.get("root_path", ""))
        docs = _DOCS.format(prefix=prefix) if service.settings.public_docs else ""
        content = _ASSETS.render(prefix, title=escape(app.title), docs=docs)
        return HTMLResponse(content, headers={"Content-Security-Policy": _POLICY})

    app.add_route("/console", page, include_in_schema=False)
    _ASSETS.add_to(app)
