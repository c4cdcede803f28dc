"""A page and its static files, which are sent compressed and kept by browsers forever."""

import re
from functools import cached_property
from gzip import compress, decompress
from hashlib import sha256
from html import escape
from importlib.resources import files

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from songbook.errors import NotFound

_MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".txt": "text/plain"}
_COMPRESSED = ".gz"
_FOREVER = "public, max-age=31536000, immutable"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Asset:
    """A file, which is stored compressed."""

    def __init__(self, compressed: bytes, media_type: str) -> None:
        self.compressed = compressed
        self.media_type = media_type

    @cached_property
    def content(self) -> bytes:
        """The file for the few clients that do not accept gzip."""
        return decompress(self.compressed)

    def response(self, request: Request) -> Response:
        """Return the file, compressed for a client that accepts gzip."""
        if not _accepts_gzip(request):
            headers = {"vary": "Accept-Encoding"}
            return Response(self.content, headers=headers, media_type=self.media_type)
        headers = {"vary": "Accept-Encoding", "content-encoding": "gzip"}
        return Response(self.compressed, headers=headers, media_type=self.media_type)


class Assets:
    """The files in the folder `static` of a package, each as it is or compressed (`name.js.gz`).

    Their address has a version that changes with any of them: `{path}/{version}/{name}`.
    """

    def __init__(self, package: str, path: str) -> None:
        self._folder = files(package).joinpath("static")
        self._path = path

    def add_to(self, app: FastAPI) -> None:
        """Serve the files."""
        app.add_route(f"{self._path}/{{version}}/{{name}}", self._respond, include_in_schema=False)

    def page(self, request: Request, **parts: str) -> HTMLResponse:
        """Return `index.html`, which runs its own scripts only, with HTML for each `{part}`.

        There and in the parts, `{title}` is the name of the service, `{prefix}` the root path, and
        `{assets}` the address of the files.
        """
        prefix = escape(request.scope.get("root_path", ""))
        texts = {
            "assets": f"{prefix}{self._path}/{self._version}",
            "prefix": prefix,
            "title": escape(request.app.title),
        }
        page = self._page
        for name, html in parts.items():
            page = page.replace(f"{{{name}}}", html)
        page = re.sub(r"\{(\w+)\}", lambda match: texts[match[1]], page)
        return HTMLResponse(page, headers={"Content-Security-Policy": _POLICY})

    @cached_property
    def _page(self) -> str:
        return self._folder.joinpath("index.html").read_text("utf-8")

    @cached_property
    def _assets(self) -> dict[str, Asset]:
        """The files by name."""
        found = {}
        for file in sorted(self._folder.iterdir(), key=lambda each: each.name):
            name = file.name.removesuffix(_COMPRESSED)
            media_type = _MEDIA_TYPES.get(name[name.rfind(".") :])
            if media_type:
                content = file.read_bytes()
                is_compressed = name != file.name
                compressed = content if is_compressed else compress(content, mtime=0)
                found[name] = Asset(compressed, media_type)
        return found

    @cached_property
    def _version(self) -> str:
        return sha256(b"".join(each.compressed for each in self._assets.values())).hexdigest()[:12]

    async def _respond(self, request: Request) -> Response:
        """Return a file, to be kept forever if the address has its version. Raises NotFound."""
        found = self._assets.get(request.path_params["name"])
        if found is None:
            raise NotFound
        response = found.response(request)
        if request.path_params["version"] == self._version:  # else of another release, in a deploy
            response.headers["Cache-Control"] = _FOREVER
        return response


def _accepts_gzip(request: Request) -> bool:
    """Return whether the Accept-Encoding header names gzip, with a weight (RFC 9110, 12.5.3)."""
    for part in request.headers.get("accept-encoding", "").lower().split(","):
        coding, _, weight = part.replace(" ", "").partition(";q=")
        if coding == "gzip":
            return not weight or weight.strip("0.") != ""
    return False
