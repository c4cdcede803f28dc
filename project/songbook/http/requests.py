"""Bodies, JSON (RFC 8259) or a form, read strictly and within a limit."""

import json
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple, TypeVar, cast
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope

from songbook.errors import BadRequest, ContentTooLarge, UnsupportedMediaType, from_pydantic
from songbook.http.completion import Completion
from songbook.http.media_types import CSV
from songbook.http.query_options import Parameter
from songbook.http.state import ServiceState

LIMIT = 64 * 1024
"""The largest body of a route for one record, in bytes."""

MAX_JSON_DEPTH = 900
"""How many arrays and objects of a JSON text may be within each other.

The interpreters' own limits differ: 994 less the calls in progress in Python 3.11, 9998 in 3.13.
"""

Body = TypeVar("Body", bound=BaseModel)
Value = TypeVar("Value")

_MAX_DIGITS = 15
_MAX_FIELDS = 100
FORM = "application/x-www-form-urlencoded"
MERGE_PATCH = "application/merge-patch+json"
_UTF_8 = {"", "charset=utf-8"}
_IGNORED = {CSV: {*_UTF_8, "header=present"}}
_TOO_DEEP = "is JSON that is nested too deeply"
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[][{}]', re.DOTALL)


async def read_body(request: "StrictRequest", model: type[Body], *, form: bool = False) -> Body:
    """Return the body, JSON or a form, as a `model`; raise the problem (400, 413, 422) it has."""
    content = await request.body()
    value = parse_form(content) if form else parse_json(content)
    try:
        # SQLModel's own model_validate costs 15 µs more, for what only tables need
        return cast("Body", model.__pydantic_validator__.validate_python(value))
    except ValidationError as error:
        errors = error.errors(include_url=False, include_context=False, include_input=False)
        raise from_pydantic(errors, "body") from None


def parse_json(content: bytes) -> Any:
    """Return the value of a JSON text; raise BadRequest with the reason why it is none."""
    try:
        return decode_json(content.decode("utf-8"))
    except UnicodeDecodeError:
        raise BadRequest("The body is not UTF-8.") from None
    except InvalidJson as error:
        raise BadRequest(f"The body {error}.") from None


def decode_json(text: str) -> Any:
    """Return the value of a JSON text.

    Raises InvalidJson if it is none, or none that all read alike.
    """
    try:
        _check_depth(text)
        return _DECODER.decode(text)
    except RecursionError:
        raise InvalidJson(_TOO_DEEP) from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InvalidJson(f"is not JSON: {error.msg} at {place}") from None
    except InvalidJson:
        raise
    except ValueError:
        raise InvalidJson(
            "is not JSON that is accepted here: a number has too many digits"
        ) from None


def parse_form(content: bytes) -> dict[str, str]:
    """Return the fields of a form, each of them once; raise BadRequest if it is none in UTF-8."""
    try:
        pairs = parse_qsl(
            content.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS
        )
        return _unique(pairs)
    except ValueError:
        raise BadRequest("The body is not a form in UTF-8 with each field once.") from None


class InvalidJson(ValueError):
    """A text is not JSON, or has a meaning that no two readers agree on; says what it is."""


class Principal(NamedTuple):
    """Who sends a request."""

    id: int
    email: str
    is_superuser: bool
    permissions: tuple[str, ...]
    """What the token permits; no route here asks for any."""


@dataclass(frozen=True)
class RouteInfo:
    """What the dependencies of a route need to know of it."""

    path: str = ""
    """The path template, also of a route that is asked by an alias of it."""

    query_parameters: tuple[Parameter, ...] = ()

    parses_query: bool = False
    """Whether a dependency refuses unknown query parameters itself, as that of a list does."""


class StrictRequest(Request):
    """A request of a service, whose body is read strictly and within a limit."""

    route = RouteInfo()

    principal: Principal | None = None
    """Who sends the request, where the permission of the route asks for it."""

    completion: Completion | None = None
    """What ends after the handler, where FastAPI and not the route calls the dependencies."""

    def __init__(self, scope: Scope, receive: Receive, *, form: bool = False) -> None:
        super().__init__(scope, receive)
        self.service: ServiceState = scope["app"].state.service
        self._is_form = form
        self._is_begun = False
        self._content: bytes | None = None
        self._digest: bytes | None = None

    async def json(self) -> Any:
        """Return the value of the body, JSON or a form; raise the problem (400, 413) it has."""
        content = await self.body()
        return parse_form(content) if self._is_form else parse_json(content)

    async def body(self) -> bytes:
        """Return the body.

        Raises ContentTooLarge once it exceeds the limit, before the rest is read.
        """
        if self._content is None:
            self._content = b"".join([chunk async for chunk in self.chunks(LIMIT)])
        return self._content

    async def digest(self) -> bytes:
        """Return the SHA-256 of the body."""
        if self._digest is None:
            self._digest = sha256(await self.body()).digest()
        return self._digest

    @property
    def can_be_read(self) -> bool:
        """Return whether all of the body was read, or none of it."""
        return self._content is not None or self._digest is not None or not self._is_begun

    async def hashed_chunks(self, limit: int) -> AsyncIterator[bytes]:
        """Give the body as it comes, which is not kept, but for its digest."""
        hashed = sha256()
        async for chunk in self.chunks(limit):
            hashed.update(chunk)
            yield chunk
        self._digest = hashed.digest()

    async def chunks(self, limit: int) -> AsyncIterator[bytes]:
        """Give the body as it comes; raise ContentTooLarge once it exceeds `limit` bytes."""
        self._is_begun = True
        declared = self.headers.get("content-length", "0")
        if len(declared) > _MAX_DIGITS or int(declared) > limit:
            raise _too_large(limit)
        read, more = 0, True
        while more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunk: bytes = message.get("body", b"")
            read += len(chunk)
            if read > limit:
                raise _too_large(limit)
            more = message.get("more_body", False)
            yield chunk


def _too_large(most: int) -> ContentTooLarge:
    return ContentTooLarge(f"The body is larger than {most} bytes.")


def _unique(pairs: list[tuple[str, Value]]) -> dict[str, Value]:
    """Return an object's members; refuse a name that is there twice (RFC 8259, section 4)."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise InvalidJson("is not JSON that is accepted here: a name occurs twice in an object")
    return members


def _check_depth(text: str) -> None:
    """Raise InvalidJson if a JSON text is nested deeper than MAX_JSON_DEPTH."""
    if len(text) <= MAX_JSON_DEPTH or text.count("[") + text.count("{") <= MAX_JSON_DEPTH:
        return  # nearly every text, without a look at its strings
    depth = 0
    for token in _STRING_OR_BRACKET.finditer(text):
        if token[0] in "[{":
            depth += 1
            if depth > MAX_JSON_DEPTH:
                raise InvalidJson(_TOO_DEEP)
        elif token[0] in "]}":
            depth -= 1


def _refuse_constant(_name: str) -> Any:
    why = "NaN and Infinity are no numbers of JSON"
    raise InvalidJson(f"is not JSON that is accepted here: {why}")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant)


def media_type_of(request: Request) -> str:
    """Return the media type that a body is declared as, in lower case and without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def declared_media_type(request: Request, accepted: Sequence[str]) -> str | None:
    """Return the media type of the body in lower case, None if it is not accepted as declared.

    It has to be one of `accepted`, not compressed, and in UTF-8.
    """
    headers = request.headers
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        return None
    declared = headers.get("content-type", "")
    if declared in accepted:
        return declared
    media_type, *parameters = [part.strip().lower() for part in declared.split(";")]
    others = {part.replace('"', "") for part in parameters} - _IGNORED.get(media_type, _UTF_8)
    return media_type if media_type in accepted and not others else None


def check_media_type(request: Request, media_type: str | None, accepted: Sequence[str]) -> None:
    """Raise UnsupportedMediaType for a body that is not accepted as it is declared."""
    if media_type is None:
        if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
            raise UnsupportedMediaType("Send the body without a Content-Encoding.")
        named = " or ".join(accepted)
        raise UnsupportedMediaType(f"Send the body as Content-Type: {named}, in UTF-8.")
