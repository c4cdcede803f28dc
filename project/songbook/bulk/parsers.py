"""Rows of a text that comes in pieces: CSV (RFC 4180) or NDJSON, in UTF-8."""

import codecs
import io
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sqlmodel import SQLModel

from songbook.errors import BadRequest, ContentTooLarge
from songbook.http import InvalidJson, decode_json

MAX_LINE = 2**20
"""What the limit of a line can be, in characters."""

_WIDE = {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}  # and of UTF-32, too


class RowFault(NamedTuple):
    """Why a row is none."""

    detail: str
    kind: str


Rows = Iterator[tuple[int, "dict[str, Any] | RowFault"]]


class RowParser:
    """Takes the pieces of a text; gives its rows, each with the number of the line it begins on.

    What `ignored` names is left out. A byte that is not UTF-8 becomes half of a surrogate pair,
    which no field accepts.
    """

    def __init__(self, model: type[SQLModel], ignored: Sequence[str], max_line: int) -> None:
        self.model = model
        self.ignored = set(ignored)
        self.max_line = max_line
        self.line = 0
        """How many lines were read before those in hand."""
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
        self._first = b""
        self._rest = ""

    def feed(self, chunk: bytes, *, final: bool) -> Rows:
        """Give the rows that end in a piece.

        Raises BadRequest, UnprocessableContent or ContentTooLarge when there is no sense in reading
        on.
        """
        raise NotImplementedError

    def lines(self, chunk: bytes, *, final: bool) -> list[str]:
        """Return the lines that end in a piece, whatever ends them."""
        if len(self._first) < 2:
            self._first += chunk[:2]
            if encoding := _WIDE.get(self._first[:2]):
                raise BadRequest(f"The body is {encoding}: send it in UTF-8.")
        text = self._rest + self._decoder.decode(chunk, final=final)
        lines = io.StringIO(text, newline="").readlines()
        # the other half of a line end may be in the next piece
        self._rest = "" if final or not lines or lines[-1].endswith("\n") else lines.pop()
        if len(self._rest) > self.max_line + 1:  # which may be a part of a line end
            raise self.too_long(len(lines))
        return lines

    def too_long(self, nth: int) -> ContentTooLarge:
        """Return the problem that the row of the `nth` line in hand is too long."""
        return ContentTooLarge(
            f"Line {self.line + nth + 1} is longer than {self.max_line} characters."
        )


def length_of(line: str) -> int:
    """Return how many characters a line has before its end."""
    return len(line.rstrip("\r\n"))


class NdjsonParser(RowParser):
    """A JSON object on each line."""

    def feed(self, chunk: bytes, *, final: bool) -> Rows:
        """Give the rows that end in a piece."""
        lines = self.lines(chunk, final=final)
        for nth, line in enumerate(lines):
            if length_of(line) > self.max_line:
                raise self.too_long(nth)
            if text := line.strip(" \t\r\n"):  # which is the white space of JSON
                yield self.line + nth + 1, self._row(text)
        self.line += len(lines)

    def _row(self, text: str) -> dict[str, Any] | RowFault:
        try:
            row = decode_json(text)
        except InvalidJson as error:
            message = str(error).replace(" at line 1, ", " at ")  # of a text that is one line
            return RowFault(f"The line {message}", "json")
        if not isinstance(row, dict):
            return RowFault("The line is not an object", "object")
        for name in self.ignored & row.keys():
            del row[name]
        return row
