"""The count of an import's rows."""

from collections.abc import Sequence

from pydantic import ValidationError

from songbook.errors import MAX_REFUSALS, ImportReport, RowError, message_of, pointer_to, relevant

_MESSAGES = {"string_unicode": "Is not UTF-8"}
"""What pydantic says for people who read another file than it."""


class ImportCounter:
    """Counts the rows of an import as they are read."""

    def __init__(self) -> None:
        self.read = 0
        self.refused = 0
        self.refusals: list[RowError] = []

    @property
    def good(self) -> int:
        """Return how many rows fit."""
        return self.read - self.refused

    def refuse(self, line: int, detail: str, kind: str, pointer: str = "") -> None:
        """Count a row that is none, or cannot be stored."""
        self._refuse([RowError(line=line, pointer=pointer, detail=detail, type=kind)])

    def refuse_fields(self, line: int, error: ValidationError) -> None:
        """Count a row some of whose fields do not fit."""
        if len(self.refusals) == MAX_REFUSALS:  # there is no use in making more
            self._refuse([])
            return
        errors = error.errors(include_url=False, include_context=False, include_input=False)
        self._refuse(
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
        """Return the report when so many rows were stored, or when all were given up."""
        return ImportReport(
            read=self.read,
            stored=stored,
            skipped=0 if given_up else self.good - stored,
            refused=self.refused,
            refusals=self.refusals,
        )

    def _refuse(self, reasons: Sequence[RowError]) -> None:
        self.refused += 1
        self.refusals += reasons[: MAX_REFUSALS - len(self.refusals)]
