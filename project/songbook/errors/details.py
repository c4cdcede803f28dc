"""The bodies that tell of failures."""

from http import HTTPStatus

from pydantic import BaseModel, Field

MEDIA_TYPE = "application/problem+json"
MAX_REFUSALS = 100
_TITLES = {413: "Content Too Large", 414: "URI Too Long", 422: "Unprocessable Content"}


class FieldError(BaseModel):
    """What is wrong with one field or parameter."""

    pointer: str = Field(
        description="JSON Pointer (RFC 6901) to the field, or `/` and the name of the parameter."
    )
    location: str = Field(description="`body`, `query`, `path` or `header`.")
    detail: str
    type: str = Field(description="A stable name of the rule that was broken.")


class RowError(BaseModel):
    """Why a row was refused."""

    line: int = Field(description="The line on which the row begins, the first being 1.", ge=1)
    pointer: str = Field(description="JSON Pointer (RFC 6901) to the field; empty: all of the row.")
    detail: str
    type: str = Field(description="A stable name of the rule that was broken.")


class ImportReport(BaseModel):
    """What became of the rows: each was stored, skipped or refused, or all were given up."""

    read: int = Field(ge=0)
    stored: int = Field(description="How many are in the table now.", ge=0)
    skipped: int = Field(
        description="With `on_conflict`: how many were there already, or come again later.", ge=0
    )
    refused: int = Field(ge=0)
    refusals: list[RowError] = Field(
        description=f"The first {MAX_REFUSALS} reasons.", max_length=MAX_REFUSALS
    )


class ProblemDetails(BaseModel):
    """The body of every failure (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    request_id: str
    errors: list[FieldError] = []
    report: ImportReport | None = None


def title_of(status: int) -> str:
    """Return the reason phrase of a status code (RFC 9110), the same on every version of Python."""
    return _TITLES.get(status) or HTTPStatus(status).phrase
