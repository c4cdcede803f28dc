"""A page and its static files, which are sent compressed and kept by browsers forever."""

import re
from collections.abc import Mapping
from functools import cached_property
from gzip import compress, decompress
from hashlib import sha256
from importlib.resources import files

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from songbook.errors import NotFound

_MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".txt": "text/plain"}
_COMPRESSED = ".gz"
_FOREVER = "public, max-age=31536000, immutable"


class _Asset:
    """A file, compressed."""

    def __init__(self, compressed: bytes, media_type: str) -> None:
        self.compressed = compressed
        self.media_type = media_type

    @cached_property
    def content(self) -> bytes:
        """The file for the few clients that do not accept gzip."""
        return decompress(self.compressed)


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

    def render(self, prefix: str, **texts: str) -> str:
        """Return `index.html` with each `{name}` replaced by its text, which has to be escaped.

        `{prefix}` is the root path, and `{assets}` the address of the files.
        """
        found: Mapping[str, str] = {
            "assets": f"{prefix}{self._path}/{self._version}",
            "prefix": prefix,
            **texts,
        }
        return re.sub(r"\{(\w+)\}", lambda match: found[match[1]], self._page)

    @cached_property
    def _page(self) -> str:
        return self._folder.joinpath("index.html").read_text("utf-8")

    @cached_property
    def _assets(self) -> dict[str, _Asset]:
        """The files by name."""
        found = {}
        for file in sorted(self._folder.iterdir(), key=lambda each: each.name):
            name = file.name.removesuffix(_COMPRESSED)
            media_type = _MEDIA_TYPES.get(name[name.rfind(".") :])
            if media_type:
                content = file.read_bytes()
                is_compressed = name != file.name
                compressed = content if is_compressed else compress(content, mtime=0)
                found[name] = _Asset(compressed, media_type)
        return found

    @cached_property
    def _version(self) -> str:
        return sha256(b"".join(each.compressed for each in self._assets.values())).hexdigest()[:12]

    async def _respond(self, request: Request) -> Response:
        """Return a file, to be kept forever if the address has its version. Raises NotFound."""
        found = self._assets.get(request.path_params["name"])
        if found is None:
            raise NotFound
        is_compressed = accepts_gzip(request)
        content = found.compressed if is_compressed else found.content
        response = Response(content, media_type=found.media_type)
        response.headers["Vary"] = "Accept-Encoding"
        if is_compressed:
            response.headers["Content-Encoding"] = "gzip"
        if request.path_params["version"] == self._version:  # else of another release, in a deploy
            response.headers["Cache-Control"] = _FOREVER
        return response


def accepts_gzip(request: Request) -> bool:
    """Return whether the Accept-Encoding header names gzip, with a weight (RFC 9110, 12.5.3)."""
    for part in request.headers.get("accept-encoding", "").lower().split(","):
        coding, _, weight = part.replace(" ", "").partition(";q=")
        if coding == "gzip":
            return not weight or weight.strip("0.") != ""
    return False
