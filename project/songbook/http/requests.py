"""Request bodies: JSON (RFC 8259) or a form, parsed strictly and within a limit."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address, ip_address
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar, cast
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope

from songbook.db import Database, Timing
from songbook.errors import (
    BadRequest,
    ContentTooLarge,
    RequestTimeout,
    UnsupportedMediaType,
    from_pydantic,
)
from songbook.http.completion import Completion
from songbook.http.media_types import CSV
from songbook.http.multipart import Parts, parse_multipart
from songbook.http.query_options import Parameter
from songbook.http.state import ServiceState
from songbook.metrics import REFUSALS

MAX_BODY_BYTES = 64 * 1024
"""The largest body of one record."""

MAX_JSON_DEPTH = 100
"""How deeply arrays and objects may be nested; recursion limits of Python differ by version."""

TIMING = "timing"
"""The member of the scope with the Timing of a request, in development."""

Body = TypeVar("Body", bound=BaseModel)
Value = TypeVar("Value")

_MAX_DIGITS = 15
_MAX_FIELDS = 100
FORM = "application/x-www-form-urlencoded"
MERGE_PATCH = "application/merge-patch+json"
MULTIPART = "multipart/form-data"
_UTF_8 = {"", "charset=utf-8"}
_IGNORED_PARAMETERS = {CSV: {*_UTF_8, "header=present"}}
_TOO_DEEP = "is JSON that is nested too deeply"
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[][{}]', re.DOTALL)


async def read_body(request: "StrictRequest", model: type[Body], *, form: bool = False) -> Body:
    """Parse the body as a `model`. Raises a Problem (400, 413, 422)."""
    content = await request.body()
    value = parse_form(content) if form else parse_json(content)
    try:
        # SQLModel's own model_validate costs 15 µs more, for what only tables need
        return cast("Body", model.__pydantic_validator__.validate_python(value))
    except ValidationError as error:
        errors = error.errors(include_url=False, include_context=False, include_input=False)
        raise from_pydantic(errors, "body") from None


def parse_json(content: bytes) -> Any:
    """Parse JSON. Raises BadRequest with the reason."""
    try:
        return decode_json(content.decode("utf-8"))
    except UnicodeDecodeError:
        raise BadRequest("The body is not valid UTF-8.") from None
    except InvalidJson as error:
        raise BadRequest(f"The body {error}.") from None


def decode_json(text: str) -> Any:
    """Parse JSON. Raises InvalidJson, also for duplicate names, NaN and Infinity."""
    try:
        _check_depth(text)
        return _DECODER.decode(text)
    except RecursionError:
        raise InvalidJson(_TOO_DEEP) from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InvalidJson(f"is not valid JSON: {error.msg} at {place}") from None
    except InvalidJson:
        raise
    except ValueError:
        raise InvalidJson("is not valid JSON: a number has too many digits") from None


def parse_form(content: bytes) -> dict[str, str]:
    """Parse a form. Raises BadRequest for invalid UTF-8 and repeated fields."""
    try:
        pairs = parse_qsl(
            content.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS
        )
        return _unique(pairs)
    except ValueError:
        raise BadRequest("The body is not a form in UTF-8 whose fields occur only once.") from None


class InvalidJson(ValueError):
    """A text is no JSON that all parsers read alike; the message is a predicate."""


class Principal(NamedTuple):
    """The user that sends a request."""

    id: int
    email: str
    is_superuser: bool
    permissions: tuple[str, ...]
    """The `permissions` claim of the token, without what the account does not have any more."""

    columns: Mapping[str, object] = MappingProxyType({})
    """The `principal_columns` of the account."""


@dataclass(frozen=True)
class RouteInfo:
    """The route, for its dependencies."""

    path: str = ""
    """The path template, without an alias."""

    query_parameters: tuple[Parameter, ...] = ()

    defaults: Mapping[str, str] = field(default_factory=dict)
    """The texts of the defaults of query parameters, those of other kinds of bodies, too."""

    parses_query: bool = False
    """Whether a dependency parses the query string, as that of a list does."""

    includes: Callable[[object], bool] = bool
    """Whether all whom its permission lets read may read another list: `Permission.includes`."""

    file_type: str | None = None
    """The media type of the file at this path, where the Accept header selects none."""


class StrictRequest(Request):
    """A request whose body is parsed strictly and within a limit."""

    template = ""
    """The path template as the client uses it, maybe an alias; empty if no route matches."""

    route = RouteInfo()

    principal: Principal | None = None
    """The user, if the permission of the route requires one."""

    completion: Completion | None = None
    """The transaction that ends after the handler."""

    def __init__(self, scope: Scope, receive: Receive, *, form: bool = False) -> None:
        super().__init__(scope, receive)
        self.service: ServiceState = scope["app"].state.service
        self._is_form = form
        self._is_begun = False
        self._content: bytes | None = None
        self._form_data: FormData | None = None
        self._digest: bytes | None = None

    def sign_in(self, principal: Principal | None) -> None:
        """Set the user, for the requests that FastAPI makes of the same scope, too."""
        self.scope["user"] = self.principal = principal

    @property
    def database(self) -> Database:
        """The database for the principal; with the time of the request, that of its statements."""
        timing: Timing | None = self.scope.get(TIMING)
        if timing or self.principal:
            return self.service.database.for_principal(self.principal, timing)
        return self.service.database

    @property
    def sender(self) -> str:
        """The user or, without one, the IP network that sends the request."""
        if self.principal:
            return f"user {self.principal.id}"
        return network_of(self.client.host if self.client else None) or ""

    async def json(self) -> Any:
        """Parse the body, JSON or a form. Raises a Problem (400, 413)."""
        content = await self.body()
        return parse_form(content) if self._is_form else parse_json(content)

    async def form(self, **_limits: Any) -> FormData:  # type: ignore[override]
        """Parse the body, a form, within the limits of the service, not those of FastAPI.

        Raises BadRequest, ContentTooLarge, InsufficientStorage and RequestTimeout.
        """
        if self._form_data is None:
            if media_type_of(self) == MULTIPART:
                self._form_data, self._digest = await self._parts()
            else:
                self._form_data = FormData(parse_form(await self.body()))
        return self._form_data

    async def _parts(self) -> Parts:
        settings = self.service.settings
        try:
            async with (
                asyncio.timeout(settings.bulk_seconds),
                aclosing(self.chunks(settings.upload_bytes)) as chunks,
            ):
                return await parse_multipart(self.headers, chunks)
        except TimeoutError:
            REFUSALS.inc("bulk_seconds")
            raise RequestTimeout from None

    async def body(self) -> bytes:
        """Return the body. Raises ContentTooLarge before the rest is read."""
        if self._content is None:
            self._content = b"".join([chunk async for chunk in self.chunks(MAX_BODY_BYTES)])
        return self._content

    async def digest(self) -> bytes:
        """Return the SHA-256 of the body."""
        if self._digest is None:
            self._digest = sha256(await self.body()).digest()
        return self._digest

    @property
    def can_be_read(self) -> bool:
        """Whether the body was read whole, or not at all."""
        return self._content is not None or self._digest is not None or not self._is_begun

    async def hashed_chunks(self, limit: int) -> AsyncIterator[bytes]:
        """Iterate over the chunks of the body, of which only the digest is kept."""
        hashed = sha256()
        async for chunk in self.chunks(limit):
            hashed.update(chunk)
            yield chunk
        self._digest = hashed.digest()

    async def chunks(self, limit: int) -> AsyncGenerator[bytes, None]:
        """Iterate over the chunks of the body. Raises ContentTooLarge above `limit` bytes."""
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


def network_of(address: str | None) -> str | None:
    """Return the network of a client: an IPv4 address, or the /64 of an IPv6 address."""
    try:
        parsed = ip_address(address or "")
    except ValueError:
        return None
    if isinstance(parsed, IPv4Address):
        return str(parsed)
    return str(parsed.ipv4_mapped or IPv6Address(int(parsed) >> 64 << 64))


def _too_large(limit: int) -> ContentTooLarge:
    REFUSALS.inc("body_bytes")
    return ContentTooLarge(f"The body is larger than {limit} bytes.")


def _unique(pairs: list[tuple[str, Value]]) -> dict[str, Value]:
    """Return the members of an object. Raises InvalidJson for a duplicate name."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise InvalidJson("is not valid JSON: a name occurs twice in an object")
    return members


def _check_depth(text: str) -> None:
    """Raise InvalidJson if a text is nested deeper than MAX_JSON_DEPTH."""
    if len(text) <= MAX_JSON_DEPTH or text.count("[") + text.count("{") <= MAX_JSON_DEPTH:
        return  # fast path
    depth = 0
    for token in _STRING_OR_BRACKET.finditer(text):
        if token[0] in "[{":
            depth += 1
            if depth > MAX_JSON_DEPTH:
                raise InvalidJson(_TOO_DEEP)
        elif token[0] in "]}":
            depth -= 1


def _refuse_constant(_name: str) -> Any:
    raise InvalidJson("is not valid JSON: NaN and Infinity are no numbers of JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant)


def media_type_of(request: Request) -> str:
    """Return the media type of Content-Type in lower case, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def declared_media_type(request: Request, accepted: Sequence[str]) -> str | None:
    """Return the media type of an uncompressed UTF-8 body, None if it is not `accepted`."""
    headers = request.headers
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        return None
    declared = headers.get("content-type", "")
    if declared in accepted:
        return declared
    media_type, *parameters = [part.strip().lower() for part in declared.split(";")]
    others = {part.replace('"', "") for part in parameters} - _IGNORED_PARAMETERS.get(
        media_type, _UTF_8
    )
    if media_type == MULTIPART:
        others = {part for part in others if not part.startswith("boundary=")}
    return media_type if media_type in accepted and not others else None


def unsupported_media_type(request: Request, accepted: Sequence[str]) -> UnsupportedMediaType:
    """Return the problem of a media type or an encoding that is not accepted."""
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        return UnsupportedMediaType("The body is compressed: send it without Content-Encoding.")
    names = " or ".join(accepted)
    return UnsupportedMediaType(f"Send the body in UTF-8, with Content-Type {names}.")
