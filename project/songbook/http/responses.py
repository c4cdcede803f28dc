"""Responses of serialized JSON."""

from collections.abc import Mapping

from starlette.responses import Response

_NO_CACHE = (b"cache-control", b"no-cache")
_JSON = (b"content-type", b"application/json")


class JSONText(Response):
    """A response of serialized JSON with an entity tag."""

    def __init__(
        self,
        content: str,
        tag: str,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status_code = status_code
        self.background = None
        self.body = content.encode()
        self.raw_headers = [_NO_CACHE, (b"etag", tag.encode())]
        if status_code != 304:
            self.raw_headers += [_JSON, (b"content-length", b"%d" % len(self.body))]
        for name, value in (headers or {}).items():
            self.raw_headers.append((name.encode(), value.encode()))
