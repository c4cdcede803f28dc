"""The OpenAPI document as it is sent: made once, stored compressed, with an entity tag."""

import gzip
import json
from collections.abc import Awaitable, Callable
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from songbook.crud import read_tags
from songbook.http import JSON, accepts_gzip
from songbook.openapi.document import describe


class _Stored(NamedTuple):
    """The bytes of a document and, compressed, a twelfth of them."""

    plain: bytes
    compressed: bytes
    tag: str


def document_response(app: FastAPI) -> Callable[[Request], Awaitable[Response]]:
    """Return the handler of a GET of the document.

    It takes half a second to make, and has the prefix as its server, under which it is asked for.
    """

    @lru_cache(8)
    def stored(prefix: str) -> _Stored:
        document = describe(app)
        if prefix:
            document = {**document, "servers": [{"url": prefix}, *document["servers"]]}
        plain = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        return _Stored(plain, gzip.compress(plain, mtime=0), sha256(plain).hexdigest()[:16])

    async def read_document(request: Request) -> Response:
        found = stored(request.scope.get("root_path", "").rstrip("/"))
        is_compressed = accepts_gzip(request)
        tag = f'"{found.tag}-gz"' if is_compressed else f'"{found.tag}"'
        headers = {"etag": tag, "vary": "Accept-Encoding"}
        condition = read_tags(request, "If-None-Match")
        if condition and condition.match_weakly(tag):
            return Response(status_code=304, headers=headers)
        if not is_compressed:
            return Response(found.plain, headers=headers, media_type=JSON)
        headers["content-encoding"] = "gzip"
        return Response(found.compressed, headers=headers, media_type=JSON)

    return read_document
