"""Errors of single fields and parameters, and how they are written."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from songbook.errors.details import FieldError

_MAX_NAME = 64
_MAX_SUGGESTIONS = 3
_PREDICATES = ("is ", "should ", "was ")  # beginnings of messages that continue their field's name
_MESSAGES = {  # in place of those that speak of Python
    "extra_forbidden": "Unknown field",
    "model_attributes_type": "Input should be an object",
    "model_type": "Input should be an object",
}


def pointer_to(*names: object) -> str:
    """Return the JSON Pointer (RFC 6901) of a value; very long names are truncated."""
    parts = (str(name).replace("~", "~0").replace("/", "~1")[:_MAX_NAME] for name in names)
    # a lone surrogate cannot be encoded in a response
    return "".join(f"/{part.encode(errors='replace').decode()}" for part in parts)


def field_error(location: str, name: str, detail: str, kind: str) -> FieldError:
    """Return the error of a parameter or a top-level field."""
    return FieldError(pointer=pointer_to(name), location=location, detail=detail, type=kind)


def query_error(name: str, error: ValueError) -> FieldError:
    """Return the error of a query parameter whose parser raised a ValueError."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        return field_error("query", name, message_of(first), first["type"])
    if isinstance(error, PydanticCustomError):
        return field_error("query", name, error.message(), error.type)
    return field_error("query", name, "Should be a value of the field's type", "value_error")


def one_line(errors: Iterable[FieldError]) -> str:
    """Return errors with their fields in a sentence: "artist is missing; id: unknown field."."""
    line = "; ".join(
        _named(error.pointer.removeprefix("/"), error.detail[:1].lower() + error.detail[1:])
        for error in errors
    )
    return line if line.endswith("?") else f"{line}."


def _named(name: str, detail: str) -> str:
    if not name:  # of a body as a whole
        return detail
    return f"{name}{' ' if detail.startswith(_PREDICATES) else ': '}{detail}"


def did_you_mean(name: str, known: Sequence[str], nth: int = 0) -> str:
    """Return a suggestion of the most similar known name, empty without one.

    Only the first errors of a response get one, as `nth` counts from 0: with a hundred names a
    comparison takes milliseconds.
    """
    near = get_close_matches(name[:_MAX_NAME], known, n=1) if nth < _MAX_SUGGESTIONS else []
    return f", did you mean `{near[0]}`?" if near else ""


def relevant(errors: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Drop pydantic's `default_factory_not_called`, which only follows from other errors."""
    return (error for error in errors if error["type"] != "default_factory_not_called")


def message_of(error: Mapping[str, Any]) -> str:
    """Return the message of one of pydantic's errors for clients."""
    message = _MESSAGES.get(error["type"]) or str(error["msg"])
    # of a validator that raises ValueError, in words of its own
    return message.removeprefix("Value error, ")


def validation_summary(error: ValidationError) -> str:
    """Return pydantic's errors in one line, each with its field."""
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(
        f"{'/'.join(map(str, each['loc']))}: {message_of(each)}" for each in relevant(errors)
    )
