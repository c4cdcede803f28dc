"""The routes of the console: its page, and the files that the page loads."""

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse

from songbook.http import Assets, ServiceState

_ASSETS = Assets("songbook.console", "/console/assets")
_DOCS = '<footer><a href="{prefix}/docs">Documentation of the API</a></footer>\n'


def add_console(app: FastAPI) -> None:
    """Serve the console at /console unless CONSOLE=false, under the root path if there is one.

    Its files are public: what they show comes from the API, with the permissions of the user.
    """
    service: ServiceState = app.state.service
    if not service.settings.console:
        return

    async def page(request: Request) -> HTMLResponse:
        return _ASSETS.page(request, docs=_DOCS if service.settings.public_docs else "")

    app.add_route("/console", page, include_in_schema=False)
    _ASSETS.add_to(app)
