"""What became of the rows of an import."""

from pydantic import BaseModel, Field

MOST_REFUSALS = 100


class Refusal(BaseModel):
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
    refusals: list[Refusal] = Field(
        description=f"The first {MOST_REFUSALS} reasons.", max_length=MOST_REFUSALS
    )
