"""Bodies, JSON (RFC 8259) or a form, read strictly and within a limit."""

import json
import re
from collections.abc import AsyncIterator, Sequence
from hashlib import sha256
from typing import Any, TypeVar, cast
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope

from songbook.errors import Malformed, TooLarge, UnsupportedMediaType, unacceptable
from songbook.http.media_types import JSON

LIMIT = 64 * 1024
"""The largest body of a route for one record, in bytes."""

MAX_JSON_DEPTH = 900
"""How many arrays and objects of a JSON text may be within each other.

The interpreters' own limits differ: 994 less the calls in progress in Python 3.11, 9998 in 3.13.
"""

Body = TypeVar("Body", bound=BaseModel)
Value = TypeVar("Value")

_MOST_DIGITS = 15
_MOST_FIELDS = 100
FORM = "application/x-www-form-urlencoded"
_MERGE_PATCH = "application/merge-patch+json"
_TOO_DEEP = "is JSON that is nested too deeply"
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[][{}]', re.DOTALL)


async def read_body(request: "StrictRequest", model: type[Body]) -> Body:
    """Return the body as a `model`; raise the problem (400, 413, 415, 422) that it has."""
    try:
        # SQLModel's own model_validate costs 15 µs more, for what only tables need
        return cast("Body", model.__pydantic_validator__.validate_python(await request.json()))
    except ValidationError as error:
        errors = error.errors(include_url=False, include_context=False, include_input=False)
        raise unacceptable(errors, "body") from None


def parse_json(content: bytes) -> Any:
    """Return the value of a JSON text; raise Malformed with the reason why it is none."""
    try:
        return decode_json(content.decode("utf-8"))
    except UnicodeDecodeError:
        raise Malformed("The body is not UTF-8.") from None
    except NotJson as error:
        raise Malformed(f"The body {error}.") from None


def decode_json(text: str) -> Any:
    """Return the value of a JSON text; raise NotJson if it is none, or none that all read alike."""
    try:
        _check_depth(text)
        return _DECODER.decode(text)
    except RecursionError:
        raise NotJson(_TOO_DEEP) from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise NotJson(f"is not JSON: {error.msg} at {place}") from None
    except NotJson:
        raise
    except ValueError:
        raise NotJson("is not JSON that is accepted here: a number has too many digits") from None


def parse_form(content: bytes) -> dict[str, str]:
    """Return the fields of a form, each of them once; raise Malformed if it is none in UTF-8."""
    try:
        pairs = parse_qsl(
            content.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS
        )
        return _unique(pairs)
    except ValueError:
        raise Malformed("The body is not a form in UTF-8 with each field once.") from None


class NotJson(ValueError):
    """A text is not JSON, or has a meaning that no two readers agree on; says what it is."""


class StrictRequest(Request):
    """A request whose body is JSON (or, where the route says so, a form) within the limit."""

    def __init__(self, scope: Scope, receive: Receive, *, form: bool = False) -> None:
        super().__init__(scope, receive)
        self.form_encoded = form
        self.digested: bytes | None = None
        self.others: tuple[str, ...] = ()
        """The media types that the route takes besides, in another way."""

    async def json(self) -> Any:
        """Return the body's value; raise the problem (400, 413, 415) that it has."""
        check_media_type(self)
        content = await self.body()
        return parse_form(content) if self.form_encoded else parse_json(content)

    async def body(self) -> bytes:
        """Return the body; raise TooLarge once it exceeds the limit, before the rest is read."""
        if not hasattr(self, "_body"):
            self._body = b"".join([piece async for piece in self.pieces(LIMIT)])
        return self._body

    async def digest(self) -> bytes:
        """Return the SHA-256 of the body, which somebody else may have read in parts."""
        if self.digested is None:
            self.digested = sha256(await self.body()).digest()
        return self.digested

    @property
    def is_read(self) -> bool:
        """Return whether all of the body was read, so that it has a digest."""
        return self.digested is not None or hasattr(self, "_body")

    async def pieces(self, most: int) -> AsyncIterator[bytes]:
        """Give the body as it comes; raise TooLarge once it exceeds `most` bytes."""
        declared = self.headers.get("content-length", "0")
        if len(declared) > _MOST_DIGITS or int(declared) > most:
            raise _too_large(most)
        read, more = 0, True
        while more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            piece: bytes = message.get("body", b"")
            read += len(piece)
            if read > most:
                raise _too_large(most)
            more = message.get("more_body", False)
            yield piece


def _too_large(most: int) -> TooLarge:
    return TooLarge(f"The body is larger than {most} bytes.")


def _unique(pairs: list[tuple[str, Value]]) -> dict[str, Value]:
    """Return an object's members; refuse a name that is there twice (RFC 8259, section 4)."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise NotJson("is not JSON that is accepted here: a name occurs twice in an object")
    return members


def _check_depth(text: str) -> None:
    """Raise NotJson if a JSON text is nested deeper than MAX_JSON_DEPTH."""
    if len(text) <= MAX_JSON_DEPTH or text.count("[") + text.count("{") <= MAX_JSON_DEPTH:
        return  # nearly every text, without a look at its strings
    depth = 0
    for token in _STRING_OR_BRACKET.finditer(text):
        if token[0] in "[{":
            depth += 1
            if depth > MAX_JSON_DEPTH:
                raise NotJson(_TOO_DEEP)
        elif token[0] in "]}":
            depth -= 1


def _refuse_constant(_name: str) -> Any:
    why = "NaN and Infinity are no numbers of JSON"
    raise NotJson(f"is not JSON that is accepted here: {why}")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant)


def media_type_of(request: Request) -> str:
    """Return the media type that a body is declared as, in lower case and without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def check_media_type(request: StrictRequest) -> None:
    """Refuse a body that is not declared as what is read, in another charset, or compressed."""
    accepted = (JSON, _MERGE_PATCH) if request.method == "PATCH" else (JSON,)
    check_declared(request, (FORM,) if request.form_encoded else (*accepted, *request.others))


def check_declared(request: Request, accepted: Sequence[str], *harmless: str) -> None:
    """Refuse a body of none of these media types, that is compressed, or in another charset.

    Of the parameters of its Content-Type, a charset of UTF-8 and what is `harmless` say nothing.
    """
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise UnsupportedMediaType("Send the body without a Content-Encoding.")
    declared = request.headers.get("content-type", "")
    if declared in accepted:
        return
    media_type, *parameters = [part.strip().lower() for part in declared.split(";")]
    spelled = {part.replace('"', "") for part in parameters}
    if media_type not in accepted or not spelled <= {"", "charset=utf-8", *harmless}:
        named = " or ".join(accepted)
        raise UnsupportedMediaType(f"Send the body as Content-Type: {named}, in UTF-8.")
