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
from songbook.http import JSON, Asset
from songbook.openapi.document import describe


class _Stored(NamedTuple):
    """A document, a twelfth of its size, and the digest of what it says."""

    asset: Asset
    digest: str


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
        return _Stored(Asset(gzip.compress(plain, mtime=0), JSON), sha256(plain).hexdigest()[:16])

    async def read_document(request: Request) -> Response:
        found = stored(request.scope.get("root_path", "").rstrip("/"))
        response = found.asset.response(request)
        suffix = "-gz" if "content-encoding" in response.headers else ""
        tag = response.headers["etag"] = f'"{found.digest}{suffix}"'
        condition = read_tags(request, "If-None-Match")
        if condition and condition.match_weakly(tag):
            headers = {name: response.headers[name] for name in ("etag", "vary")}
            return Response(status_code=304, headers=headers)
        return response

    return read_document
