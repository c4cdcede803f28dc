"""What is wrong with one field or parameter of a request, and where it is."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from songbook.errors.details import FieldError

_MAX_NAME = 64
_PREDICATES = ("Is ", "Should ", "Was ")
"""How a detail begins that reads on from the name of its field."""


def pointer_to(*names: object) -> str:
    """Return the JSON Pointer of a place in a document; a name of an attacker's length is cut."""
    parts = (str(name).replace("~", "~0").replace("/", "~1")[:_MAX_NAME] for name in names)
    # what is no text, as half of a surrogate pair, could not be written in an answer
    return "".join(f"/{part.encode(errors='replace').decode()}" for part in parts)


def field_error(location: str, name: str, detail: str, kind: str) -> FieldError:
    """Describe one from_pydantic parameter or field by its name."""
    return FieldError(pointer=pointer_to(name), location=location, detail=detail, type=kind)


def query_error(name: str, error: ValueError) -> FieldError:
    """Describe what a function that parses a query parameter raised."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        return field_error("query", name, first["msg"], first["type"])
    if isinstance(error, PydanticCustomError):
        return field_error("query", name, error.message(), error.type)
    return field_error("query", name, "Should be a value of the field's type", "value_error")


def one_line(errors: Iterable[FieldError]) -> str:
    """Say in one line what is wrong, each with its name: "artist is missing; id is no field"."""
    named = ((error.pointer.removeprefix("/"), error.detail) for error in errors)
    return "; ".join(
        f"{name}{' ' if detail.startswith(_PREDICATES) else ': '}{detail[:1].lower()}{detail[1:]}"
        for name, detail in named
    )


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """Ask whether the nearest of the known names was meant, if one is near."""
    near = get_close_matches(name[:_MAX_NAME], known, n=1)
    return f", did you mean `{near[0]}`?" if near else ""


def relevant(errors: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Give those of pydantic's errors that matter: a default that waits for a field is none."""
    return (error for error in errors if error["type"] != "default_factory_not_called")


def validation_summary(error: ValidationError) -> str:
    """Say in one line what is wrong, field by field."""
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(
        f"{'/'.join(map(str, each['loc']))}: {each['msg']}" for each in relevant(errors)
    )
