"""The bodies of error responses."""

from http import HTTPStatus

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict
from pydantic.json_schema import SkipJsonSchema

MEDIA_TYPE = "application/problem+json"
MAX_REFUSALS = 100
NO_SUCH_RECORD = "The referenced record does not exist"
_TITLES = {413: "Content Too Large", 414: "URI Too Long", 422: "Unprocessable Content"}


class FieldError(BaseModel):
    """One invalid field or parameter."""

    pointer: str = Field(description="JSON Pointer (RFC 6901); for parameters `/` and the name.")
    location: str = Field(description="`body`, `query`, `path` or `header`.")
    detail: str = Field(description="What is wrong with the value.")
    type: str = Field(description="The stable name of the violated rule.")


class RowError(BaseModel):
    """One refused row of an import."""

    line: int = Field(description="The line on which the row begins, counted from 1.", ge=1)
    pointer: str = Field(description="JSON Pointer (RFC 6901) to the field; empty for the row.")
    detail: str = Field(description="What is wrong with the row.")
    type: str = Field(description="The stable name of the violated rule.")


_REPORT: JsonDict = {"read": 1, "stored": 1, "skipped": 0, "refused": 0, "refusals": []}


class ImportReport(BaseModel):
    """The result of an import: how many rows were read, stored, skipped and refused."""

    model_config = ConfigDict(json_schema_extra={"examples": [_REPORT]})

    read: int = Field(description="Rows read.", ge=0)
    stored: int = Field(description="Rows inserted or updated.", ge=0)
    skipped: int = Field(description="Duplicates left out, with `on_conflict`.", ge=0)
    refused: int = Field(description="Rows with errors.", ge=0)
    refusals: list[RowError] = Field(
        description=f"The first {MAX_REFUSALS} errors.", max_length=MAX_REFUSALS
    )


class ProblemDetails(BaseModel):
    """Problem details (RFC 9457), the body of every error response."""

    type: str = Field(
        description="The stable name of the problem, a path.",
        json_schema_extra={"format": "uri-reference"},
    )
    title: str = Field(description="The reason phrase of the status.")
    status: int = Field(description="The status code.", ge=100, le=599)
    detail: str = Field(description="What went wrong, and what to do.")
    instance: str = Field(
        description="The path of the request.", json_schema_extra={"format": "uri-reference"}
    )
    request_id: str = Field(description="The id of the request, as in the log.")
    errors: list[FieldError] = Field([], description="The fields and parameters at fault.")
    report: SkipJsonSchema[None] | ImportReport = Field(
        None, description="Of a failed import: what was found."
    )


def title_of(status: int) -> str:
    """Return the reason phrase of a status code (RFC 9110), the same on every version of Python."""
    return _TITLES.get(status) or HTTPStatus(status).phrase
