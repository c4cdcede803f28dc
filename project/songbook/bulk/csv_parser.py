"""An incremental parser of CSV (RFC 4180)."""

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import islice
from typing import Any

from sqlmodel import SQLModel

from songbook.bulk.parsers import MAX_LINE, RowFault, RowParser, Rows, length_of
from songbook.errors import MAX_ERRORS, BadRequest, UnprocessableContent, did_you_mean, field_error
from songbook.http import InvalidJson, decode_json
from songbook.models import BooleanType, FieldType, IntegerType, field_type_of, is_nullable

_NO_UTF_8 = re.compile("[\udc80-\udcff]")

csv.field_size_limit(MAX_LINE)  # `max_line` is the limit that counts


class CsvParser(RowParser):
    """Parses CSV with a header.

    The separator is `,`, or `;` as spreadsheets write it where the comma is that of decimals; the
    first line tells which, because the name of a field has neither.
    """

    def __init__(self, model: type[SQLModel], ignored: Sequence[str], max_line: int) -> None:
        super().__init__(model, ignored, max_line)
        self._lines = _Lines()
        self._reader = csv.reader(self._lines, strict=True)
        self._header: list[str] | None = None
        self._first_line = ""
        self._nullable, self._optional, self._readers = _special_fields(model)

    def feed(self, chunk: bytes, *, final: bool) -> Rows:
        """Yield the rows that end in a chunk."""
        lines = self.lines(chunk, final=final)
        if not self._first_line:
            self._first_line = next((line for line in lines if line.strip("\r\n")), "")
            if ";" in self._first_line and "," not in self._first_line:
                self._reader = csv.reader(self._lines, delimiter=";", strict=True)
        self._lines.extend(lines, final=final)
        for nth, values in self._records():
            if self._header is None:
                if values:  # else a blank line before it
                    self._header = _check_header(values, self.model, self.ignored)
            elif len(values) == len(self._header):
                yield self.line + nth + 1, self._row(values)
            elif values:  # a blank line has none
                named = len(self._header)
                detail = f"Number of values should be {named}, as in the header, not {len(values)}"
                yield self.line + nth + 1, RowFault(detail, "columns")
        if final and self._header is None:
            _check_header([], self.model, self.ignored)
        self.line += self._lines.discard_read()

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the complete records with the indexes of their first lines."""
        while True:
            start, failure = self._lines.next, None
            try:
                values = next(self._reader)
            except StopIteration:
                return
            except (NeedMoreData, csv.Error) as error:
                failure = error
            if self._lines.length_from(start) > self.max_line:
                raise self.too_long(start)
            if isinstance(failure, NeedMoreData):
                self._lines.next = start
                return
            if failure:
                line = self.line + start + 1
                raise BadRequest(f"Invalid CSV at line {line}: {failure}.")
            yield start, values

    def _row(self, values: Sequence[str]) -> dict[str, Any]:
        row: dict[str, Any] = {}
        assert self._header is not None
        for name, value in zip(self._header, values, strict=True):
            if name in self.ignored:
                continue
            if value:
                read = self._readers.get(name)
                row[name] = read(value) if read else value
            elif name in self._nullable:
                row[name] = None
            elif name not in self._optional:
                row[name] = value
        return row


@cache
def _special_fields(
    model: type[SQLModel],
) -> tuple[set[str], set[str], dict[str, Callable[[str], Any]]]:
    """Return which fields may be null, which may be left out, and how some are read."""
    fields = model.model_fields.items()
    types = {name: field_type_of(info.annotation) for name, info in fields}
    return (
        {name for name, info in fields if is_nullable(info.annotation)},
        {name for name, info in fields if not info.is_required()},
        {name: read for name, type_ in types.items() if type_ and (read := _reader_of(type_))},
    )


def _reader_of(type_: FieldType) -> Callable[[str], Any] | None:
    """Return what reads the values of a type that programs write otherwise than JSON."""
    if type_.is_json:
        return _decoded
    if isinstance(type_, IntegerType):
        return _without_fraction
    return str.lower if isinstance(type_, BooleanType) else None  # `True`, `TRUE` of a spreadsheet


def _without_fraction(value: str) -> str:
    """Return an integer without `.0`, as pandas writes those of a column that has nulls."""
    return value.removesuffix(".0")


def _decoded(value: str) -> Any:
    """Return the value of a JSON text, or a text that is none, which the field will refuse."""
    try:
        return decode_json(value)
    except InvalidJson:
        return value


class NeedMoreData(Exception):
    """The current record continues in the next chunk."""


class _Lines:
    """The buffered lines; `next` is the index of the first that was not read."""

    def __init__(self) -> None:
        self.next = 0
        self._lines: list[str] = []
        self._is_complete = False

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        if self.next == len(self._lines):
            raise StopIteration if self._is_complete else NeedMoreData
        self.next += 1
        return self._lines[self.next - 1]

    def extend(self, lines: list[str], *, final: bool) -> None:
        """Add lines."""
        self._lines += lines
        self._is_complete = final

    def length_from(self, start: int) -> int:
        """Return the length of the lines that were read from index `start` on, in characters."""
        *first, last = self._lines[start : self.next] or [""]
        return sum(map(len, first)) + length_of(last)

    def discard_read(self) -> int:
        """Discard the lines that were read; return their number."""
        read, self.next = self.next, 0
        del self._lines[:read]
        return read


def _check_header(header: list[str], model: type[SQLModel], ignored: set[str]) -> list[str]:
    """Return the header. Raises UnprocessableContent for unknown, missing and repeated columns."""
    if any(_NO_UTF_8.search(name) for name in header):
        raise BadRequest("The header is not valid UTF-8.")
    fields, numbers = model.model_fields, Counter(header)
    required = [name for name, info in fields.items() if info.is_required()]
    unknown = [name for name in numbers if name not in fields and name not in ignored]
    messages = {
        name: f"Unknown column{did_you_mean(name, [*fields], nth)}"
        for nth, name in enumerate(unknown[:MAX_ERRORS])
    }
    messages |= {name: "Is repeated" for name, number in numbers.items() if number > 1}
    messages |= {name: "Is missing" for name in required if name not in numbers}
    messages |= dict.fromkeys(sorted(ignored - numbers.keys()), "Is not a column of the file")
    if messages:
        first = islice(messages.items(), MAX_ERRORS)
        errors = [field_error("body", name, message, "column") for name, message in first]
        advice = "correct the first line, or leave columns out with `ignore`"
        raise UnprocessableContent(
            f"The header does not match the fields: {advice}.", errors=errors
        )
    return header
