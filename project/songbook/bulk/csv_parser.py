"""Rows of a CSV text that comes in pieces (RFC 4180)."""

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import islice
from typing import Any

from sqlmodel import SQLModel

from songbook.bulk.parsers import MAX_LINE, RowFault, RowParser, Rows, length_of
from songbook.errors import MAX_ERRORS, BadRequest, UnprocessableContent, did_you_mean, field_error
from songbook.models import is_nullable

_NO_UTF_8 = re.compile("[\udc80-\udcff]")

csv.field_size_limit(MAX_LINE)  # the lines have a limit of their own


class CsvParser(RowParser):
    """Values separated by commas, under a line with the names of fields."""

    def __init__(self, model: type[SQLModel], ignored: Sequence[str], max_line: int) -> None:
        super().__init__(model, ignored, max_line)
        self._lines = _Lines()
        self._reader = csv.reader(self._lines, strict=True)
        self._header: list[str] | None = None
        self._nullable, self._optional = _omittable(model)

    def feed(self, chunk: bytes, *, final: bool) -> Rows:
        """Give the rows that end in a piece."""
        self._lines.extend(self.lines(chunk, final=final), final=final)
        for nth, values in self._records():
            if self._header is None:
                if values:  # the lines before it are blank
                    self._header = _checked(values, self.model, self.ignored)
            elif len(values) == len(self._header):
                yield self.line + nth + 1, self._row(values)
            elif values:  # a blank line has none
                named = len(self._header)
                detail = f"The row has {len(values)} values where the header names {named}"
                yield self.line + nth + 1, RowFault(detail, "columns")
        if final and self._header is None:
            _checked([], self.model, self.ignored)
        self.line += self._lines.forget()

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """Give the records that are complete, each with the place of its first line."""
        while True:
            start, fault = self._lines.place, None
            try:
                values = next(self._reader)
            except StopIteration:
                return
            except (NeedMoreData, csv.Error) as error:
                fault = error
            if self._lines.length_from(start) > self.max_line:
                raise self.too_long(start)
            if isinstance(fault, NeedMoreData):
                self._lines.place = start
                return
            if fault:
                line = self.line + start + 1
                raise BadRequest(f"The CSV cannot be read from line {line} on: {fault}.")
            yield start, values

    def _row(self, values: Sequence[str]) -> dict[str, Any]:
        row: dict[str, Any] = {}
        assert self._header is not None
        for name, value in zip(self._header, values, strict=True):
            if name in self.ignored:
                continue
            if value or name not in self._optional:
                row[name] = value
            elif name in self._nullable:
                row[name] = None
        return row


@cache
def _omittable(model: type[SQLModel]) -> tuple[set[str], set[str]]:
    """Return the names of the fields that may be null, and of those that may be left out."""
    fields = model.model_fields.items()
    nullable = {name for name, info in fields if is_nullable(info.annotation)}
    return nullable, {name for name, info in fields if not info.is_required()}


class NeedMoreData(Exception):
    """There are no more lines, but there will be."""


class _Lines:
    """The lines in hand, of which the ones before `place` are read."""

    def __init__(self) -> None:
        self.place = 0
        self._lines: list[str] = []
        self._is_complete = False

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        if self.place == len(self._lines):
            raise StopIteration if self._is_complete else NeedMoreData
        self.place += 1
        return self._lines[self.place - 1]

    def extend(self, lines: list[str], *, final: bool) -> None:
        """Take more lines."""
        self._lines += lines
        self._is_complete = final

    def length_from(self, start: int) -> int:
        """Return how many characters the lines from one on have that were read."""
        *first, last = self._lines[start : self.place] or [""]
        return sum(map(len, first)) + length_of(last)

    def forget(self) -> int:
        """Let go of the lines that were read; return how many they were."""
        read, self.place = self.place, 0
        del self._lines[:read]
        return read


def _checked(header: list[str], model: type[SQLModel], ignored: set[str]) -> list[str]:
    """Return a header.

    Raises UnprocessableContent if columns are unknown, missing or there twice.
    """
    if any(_NO_UTF_8.search(name) for name in header):
        raise BadRequest("The first line is not UTF-8.")
    fields, numbers = model.model_fields, Counter(header)
    required = [name for name, info in fields.items() if info.is_required()]
    unknown = [name for name in numbers if name not in fields and name not in ignored]
    faults = {name: f"Is no field{did_you_mean(name, [*fields])}" for name in unknown[:MAX_ERRORS]}
    faults |= {name: "Is there twice" for name, number in numbers.items() if number > 1}
    faults |= {name: "Is missing" for name in required if name not in numbers}
    faults |= dict.fromkeys(sorted(ignored - numbers.keys()), "Is not there to be ignored")
    if faults:
        found = islice(faults.items(), MAX_ERRORS)
        errors = [field_error("body", name, why, "column") for name, why in found]
        advice = "name the fields in the first line, and leave others out with `ignore`"
        raise UnprocessableContent(f"The columns do not fit: {advice}.", errors=errors)
    return header
