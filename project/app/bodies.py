"""JSON bodies, read strictly and within a limit (RFC 8259)."""

import json
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from app.problems import Malformed, TooLarge, UnsupportedMediaType, unacceptable

LIMIT = 64 * 1024
"""The largest body of a route for one record, in bytes."""

Body = TypeVar("Body", bound=BaseModel)

_MOST_DIGITS = 9
_JSON = "application/json"
_MERGE_PATCH = "application/merge-patch+json"


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
        return _DECODER.decode(content.decode("utf-8"))
    except UnicodeDecodeError:
        raise Malformed("The body is not UTF-8.") from None
    except RecursionError:
        raise Malformed("The body's JSON is nested too deeply.") from None
    except json.JSONDecodeError as error:
        detail = f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        raise Malformed(detail) from None
    except ValueError as error:
        raise Malformed(f"The body is not JSON that is accepted here: {_reason(error)}.") from None


class StrictRequest(Request):
    """A request whose body is JSON within the limit, or refused."""

    async def json(self) -> Any:
        """Return the body's JSON value; raise the problem (400, 413, 415) that it has."""
        check_media_type(self)
        return parse_json(await self.body())

    async def body(self) -> bytes:
        """Return the body; raise TooLarge once it exceeds the limit, before the rest is read."""
        if not hasattr(self, "_body"):
            self._body = await self._read()
        return self._body

    async def _read(self) -> bytes:
        declared = self.headers.get("content-length", "0")
        if len(declared) > _MOST_DIGITS or int(declared) > LIMIT:
            raise _too_large()
        content = b""
        more = True
        while more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            content += message.get("body", b"")
            if len(content) > LIMIT:
                raise _too_large()
            more = message.get("more_body", False)
        return content


class _NotAccepted(ValueError):
    """A JSON text with a meaning that no two readers agree on."""


def _reason(error: ValueError) -> str:
    return str(error) if isinstance(error, _NotAccepted) else "a number has too many digits"


def _too_large() -> TooLarge:
    return TooLarge(f"The body is larger than {LIMIT} bytes.")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object's members; refuse a name that is there twice (RFC 8259, section 4)."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _NotAccepted("a name occurs twice in an object")
    return members


def _refuse_constant(_name: str) -> Any:
    raise _NotAccepted("NaN and Infinity are no numbers of JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant)


def check_media_type(request: Request) -> None:
    """Refuse a body that is not declared as JSON, in another charset, or compressed."""
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise UnsupportedMediaType("Send the body without a Content-Encoding.")
    declared = request.headers.get("content-type", "")
    if declared == _JSON:
        return
    media_type, *parameters = [part.strip().lower() for part in declared.split(";")]
    accepted = (_JSON, _MERGE_PATCH) if request.method == "PATCH" else (_JSON,)
    utf_8 = all(part.replace('"', "") in {"", "charset=utf-8"} for part in parameters)
    if media_type not in accepted or not utf_8:
        raise UnsupportedMediaType(
            f"Send the body as Content-Type: {' or '.join(accepted)}, in UTF-8."
        )
