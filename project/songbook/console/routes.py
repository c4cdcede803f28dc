"""The routes of the console: its page, and the files that the page loads."""

from functools import cache
from gzip import compress
from hashlib import sha256
from html import escape
from importlib.resources import files
from typing import NamedTuple

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from songbook.errors import NotFound
from songbook.http import ServiceState

_MEDIA_TYPES = {".css": "text/css", ".html": "text/html", ".js": "text/javascript"}
_PAGE = "index.html"
_FOREVER = "public, max-age=31536000, immutable"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class _File(NamedTuple):
    """A file of the console, as it is and compressed."""

    content: bytes
    compressed: bytes
    media_type: str


def add_console(app: FastAPI) -> None:
    """Serve the console at /console, under the root path if there is one.

    Its files are public: what they show comes from the API, with the permissions of the user.
    """
    service: ServiceState = app.state.service

    async def page(request: Request) -> Response:
        prefix = escape(request.scope.get("root_path", ""))
        content = _page(escape(app.title), prefix, has_docs=service.settings.public_docs)
        response = Response(content, media_type=_MEDIA_TYPES[".html"])
        response.headers["Content-Security-Policy"] = _POLICY
        return response

    async def asset(request: Request) -> Response:
        return _asset(request)

    app.add_route("/console", page, include_in_schema=False)
    app.add_route("/console/assets/{version}/{name}", asset, include_in_schema=False)


def _asset(request: Request) -> Response:
    """Return a file, to be kept forever if the address has its version. Raises NotFound."""
    found = _assets().get(request.path_params["name"])
    if found is None:
        raise NotFound
    accepted = request.headers.get("accept-encoding", "")
    is_compressed = "gzip" in accepted and "gzip;q=0" not in accepted.replace(" ", "")
    response = Response(
        found.compressed if is_compressed else found.content, media_type=found.media_type
    )
    response.headers["Vary"] = "Accept-Encoding"
    if is_compressed:
        response.headers["Content-Encoding"] = "gzip"
    if request.path_params["version"] == _version():  # else of another release, in a rolling update
        response.headers["Cache-Control"] = _FOREVER
    return response


@cache
def _assets() -> dict[str, _File]:
    """Return the files by name."""
    return {
        each.name: _File(each.read_bytes(), compress(each.read_bytes(), mtime=0), media_type)
        for each in files("songbook.console").joinpath("static").iterdir()
        for suffix, media_type in _MEDIA_TYPES.items()
        if each.name.endswith(suffix) and each.name != _PAGE
    }


@cache
def _version() -> str:
    """Return the version of the files, which changes with any of them."""
    joined = b"".join(each.content for _, each in sorted(_assets().items()))
    return sha256(joined).hexdigest()[:12]


@cache
def _page(title: str, prefix: str, *, has_docs: bool) -> bytes:
    """Return the page; title and prefix are escaped."""
    docs = f'<footer><a href="{prefix}/docs">Documentation of the API</a></footer>\n'
    page = files("songbook.console").joinpath("static", _PAGE).read_text("utf-8")
    for name, text in {
        "assets": f"{prefix}/console/assets/{_version()}",
        "docs": docs if has_docs else "",
        "prefix": prefix,
        "title": title,
    }.items():
        page = page.replace(f"{{{name}}}", text)
    return page.encode()
