"""What is wrong with one field or parameter of a request, and where it is."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, Field, ValidationError

_LONGEST_NAME = 64


class FieldError(BaseModel):
    """What is wrong with one field or parameter."""

    pointer: str = Field(
        description="JSON Pointer (RFC 6901) to the field, or `/` and the name of the parameter."
    )
    location: str = Field(description="`body`, `query`, `path` or `header`.")
    detail: str
    type: str = Field(description="A stable name of the rule that was broken.")


def pointer_to(*names: object) -> str:
    """Return the JSON Pointer of a place in a document; a name of an attacker's length is cut."""
    parts = (str(name).replace("~", "~0").replace("/", "~1") for name in names)
    return "".join(f"/{part[:_LONGEST_NAME]}" for part in parts)


def field_error(location: str, name: str, detail: str, kind: str) -> FieldError:
    """Describe one unacceptable parameter or field by its name."""
    return FieldError(pointer=pointer_to(name), location=location, detail=detail, type=kind)


def told(errors: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Give those of pydantic's errors that matter: a default that waits for a field is none."""
    return (error for error in errors if error["type"] != "default_factory_not_called")


def reasons_of(error: ValidationError) -> str:
    """Say in one line what is wrong, field by field."""
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'/'.join(map(str, each['loc']))}: {each['msg']}" for each in told(errors))
