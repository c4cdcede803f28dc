"""The counts of the rows of an import."""

from collections.abc import Sequence

from pydantic import ValidationError

from songbook.errors import (
    MAX_REFUSALS,
    NO_SUCH_RECORD,
    ImportReport,
    RowError,
    message_of,
    pointer_to,
    relevant,
)

_MESSAGES = {"string_unicode": "Should be valid UTF-8"}
"""Replacements for messages of pydantic."""


class ImportCounter:
    """Counts the rows of an import and collects its first errors."""

    def __init__(self) -> None:
        self.read = 0
        self.refused = 0
        self.refusals: list[RowError] = []

    @property
    def good(self) -> int:
        """Return the number of valid rows."""
        return self.read - self.refused

    def reject(self, line: int, detail: str, kind: str, pointer: str = "") -> None:
        """Count a row that cannot be parsed or stored."""
        self._add([RowError(line=line, pointer=pointer, detail=detail, type=kind)])

    def reject_missing(self, rows: Sequence[tuple[int, str]], number: int) -> None:
        """Count a number of rows that refer to no record.

        `rows` are the first of them, each with its line and the field.
        """
        self.refused += number
        self.refusals += [
            RowError(
                line=line, pointer=pointer_to(field), detail=NO_SUCH_RECORD, type="foreign_key"
            )
            for line, field in rows
        ]
        self.refusals = sorted(self.refusals, key=lambda each: each.line)[:MAX_REFUSALS]

    def reject_fields(self, line: int, error: ValidationError) -> None:
        """Count a row with invalid fields."""
        if len(self.refusals) == MAX_REFUSALS:  # no room for their reasons
            self._add([])
            return
        errors = error.errors(include_url=False, include_context=False, include_input=False)
        self._add(
            [
                RowError(
                    line=line,
                    pointer=pointer_to(*each["loc"]),
                    detail=_MESSAGES.get(each["type"]) or message_of(each),
                    type=each["type"],
                )
                for each in relevant(errors)
            ]
        )

    def report(self, stored: int = 0, *, given_up: bool = False) -> ImportReport:
        """Return the report of an import, with `given_up` of one that stores nothing."""
        return ImportReport(
            read=self.read,
            stored=stored,
            skipped=0 if given_up else self.good - stored,
            refused=self.refused,
            refusals=self.refusals,
        )

    def _add(self, reasons: Sequence[RowError]) -> None:
        self.refused += 1
        self.refusals += reasons[: MAX_REFUSALS - len(self.refusals)]
