"""Incremental parsers of CSV and NDJSON in UTF-8."""

import codecs
import io
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sqlmodel import SQLModel

from songbook.errors import BadRequest, ContentTooLarge
from songbook.http import InvalidJson, decode_json

MAX_LINE = 2**20
"""The greatest limit of a line, in characters."""

_WIDE = {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}  # UTF-32 LE begins alike


class RowFault(NamedTuple):
    """Why a row could not be parsed."""

    detail: str
    kind: str


Rows = Iterator[tuple[int, "dict[str, Any] | RowFault"]]


class RowParser:
    """Yields the rows of a text in chunks, each with the number of its first line.

    Fields in `ignored` are left out. Invalid UTF-8 becomes lone surrogates, which no field accepts.
    """

    def __init__(self, model: type[SQLModel], ignored: Sequence[str], max_line: int) -> None:
        self.model = model
        self.ignored = set(ignored)
        self.max_line = max_line
        self.line = 0
        """The number of lines before those in the buffer."""
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
        self._first = b""
        self._rest = ""

    def feed(self, chunk: bytes, *, final: bool) -> Rows:
        """Yield the rows that end in a chunk.

        Raises BadRequest, UnprocessableContent or ContentTooLarge if the rest cannot be parsed.
        """
        raise NotImplementedError

    def lines(self, chunk: bytes, *, final: bool) -> list[str]:
        """Return the lines that end in a chunk, with any line end."""
        if len(self._first) < 2:
            self._first += chunk[:2]
            if encoding := _WIDE.get(self._first[:2]):
                raise BadRequest(f"The body is {encoding}: send it in UTF-8.")
        text = self._rest + self._decoder.decode(chunk, final=final)
        lines = io.StringIO(text, newline="").readlines()
        # CR and LF of one line end may be in two chunks
        self._rest = "" if final or not lines or lines[-1].endswith("\n") else lines.pop()
        if len(self._rest) > self.max_line + 1:  # 1 for a CR
            raise self.too_long(len(lines))
        return lines

    def too_long(self, nth: int) -> ContentTooLarge:
        """Return the problem of a row that begins on the `nth` line of the buffer."""
        line = self.line + nth + 1
        return ContentTooLarge(f"Line {line} is longer than {self.max_line} characters.")


def length_of(line: str) -> int:
    """Return the length of a line without its line end, in characters."""
    return len(line.rstrip("\r\n"))


class NdjsonParser(RowParser):
    """Parses one JSON object per line."""

    def feed(self, chunk: bytes, *, final: bool) -> Rows:
        """Yield the rows that end in a chunk."""
        lines = self.lines(chunk, final=final)
        for nth, line in enumerate(lines):
            if length_of(line) > self.max_line:
                raise self.too_long(nth)
            if text := line.strip(" \t\r\n"):  # JSON white space
                yield self.line + nth + 1, self._row(text)
        self.line += len(lines)

    def _row(self, text: str) -> dict[str, Any] | RowFault:
        try:
            row = decode_json(text)
        except InvalidJson as error:
            message = str(error).replace(" at line 1, ", " at ")  # the text is one line
            return RowFault(f"The line {message}", "json")
        if not isinstance(row, dict):
            return RowFault("The line is not a JSON object", "object")
        for name in self.ignored & row.keys():
            del row[name]
        return row
