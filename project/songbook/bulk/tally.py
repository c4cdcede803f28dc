"""The count of an import's rows."""

from collections.abc import Sequence

from pydantic import ValidationError

from songbook.errors import MOST_REFUSALS, ImportReport, Refusal, pointer_to, told

_MESSAGES = {"string_unicode": "Is not UTF-8"}
"""What pydantic says for people who read another file than it."""


class Tally:
    """Counts the rows of an import as they are read."""

    def __init__(self) -> None:
        self.read = 0
        self.refused = 0
        self.refusals: list[Refusal] = []

    @property
    def good(self) -> int:
        """Return how many rows fit."""
        return self.read - self.refused

    def refuse(self, line: int, detail: str, kind: str, pointer: str = "") -> None:
        """Count a row that is none, or cannot be stored."""
        self._refuse([Refusal(line=line, pointer=pointer, detail=detail, type=kind)])

    def refuse_fields(self, line: int, error: ValidationError) -> None:
        """Count a row some of whose fields do not fit."""
        if len(self.refusals) == MOST_REFUSALS:  # there is no use in making more
            self._refuse([])
            return
        errors = error.errors(include_url=False, include_context=False, include_input=False)
        self._refuse(
            [
                Refusal(
                    line=line,
                    pointer=pointer_to(*each["loc"]),
                    detail=_MESSAGES.get(each["type"], each["msg"]),
                    type=each["type"],
                )
                for each in told(errors)
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

    def _refuse(self, reasons: Sequence[Refusal]) -> None:
        self.refused += 1
        self.refusals += reasons[: MOST_REFUSALS - len(self.refusals)]
