"""The rows of an import that fit, on disk until all of them are there."""

import errno
import json
from array import array
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from tempfile import TemporaryFile
from typing import Any, BinaryIO

from pydantic import ValidationError

from songbook.bulk.parsers import RowFault, RowParser
from songbook.bulk.tally import ImportCounter
from songbook.errors import ContentTooLarge, InsufficientStorage, ServiceUnavailable

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NULL = "\\N"


class Spool:
    """A temporary file with rows as COPY's text format has them, in the order of `columns`.

    Every row is validated as a body of the model would be. Without `skip_errors` one that is
    refused keeps all the rest out: they are counted, and no more of them is kept. Beyond `size`
    bytes there is an end. The file has no name, and is gone when it is closed.
    """

    def __init__(self, feed: RowParser, size: int, *, skip_errors: bool) -> None:
        self.tally = ImportCounter()
        self.columns = [*feed.model.model_fields]
        self._parser = feed
        # one object for all rows: to make one of each would take longer than to validate it
        self._validate = partial(
            feed.model.__pydantic_validator__.validate_python,
            self_instance=feed.model.model_construct(),
        )
        self._size = size
        self.skip_errors = skip_errors
        with _disk_errors():
            self.rows: BinaryIO = TemporaryFile()  # noqa: SIM115 - it is closed by `close`
            self._lines: BinaryIO = TemporaryFile()  # noqa: SIM115

    def write(self, chunk: bytes) -> None:
        """Read a piece of the text, after which others come.

        Raises InsufficientStorage, ContentTooLarge, and what the feed raises.
        """
        self._read(chunk, final=False)

    def finish(self, chunk: bytes) -> None:
        """Read the last piece of the text, as `write` does."""
        self._read(chunk, final=True)

    def _read(self, chunk: bytes, *, final: bool) -> None:
        written: list[str] = []
        lines = array("I")
        for line, row in self._parser.feed(chunk, final=final):
            self.tally.read += 1
            if isinstance(row, RowFault):
                self.tally.refuse(line, *row)
                continue
            try:
                values = self._validate(row).__dict__
            except ValidationError as error:
                self.tally.refuse_fields(line, error)
                continue
            written.append("\t".join([_spelled(values[name]) for name in self.columns]))
            lines.append(line)
        if written and (self.skip_errors or not self.tally.refused):
            self._store("\n".join([*written, ""]).encode(), lines)

    def line_of(self, nth: int) -> int:
        """Return the line on which the row begins that is the `nth` of the file, from 1 on."""
        self._lines.seek((nth - 1) * array("I").itemsize)
        found = array("I")
        found.fromfile(self._lines, 1)
        return found[0]

    def rewind(self) -> BinaryIO:
        """Return the file, to be read from its start."""
        with _disk_errors():
            self.rows.seek(0)
            self._lines.seek(0)
        return self.rows

    def close(self) -> None:
        """Remove the file; what a full disk has not taken of it is of no account any more."""
        for file in (self.rows, self._lines):
            with suppress(OSError):
                file.close()

    def _store(self, content: bytes, lines: "array[int]") -> None:
        with _disk_errors():
            self.rows.write(content)
            lines.tofile(self._lines)
            if self.rows.tell() + self._lines.tell() > self._size:
                raise ContentTooLarge(f"The rows take more than {self._size} bytes.")


@contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise InsufficientStorage from error
        raise ServiceUnavailable("No file can be written at the moment: try again.") from error


def _spelled(value: Any) -> str:
    r"""Return a value in COPY's text format: null as `\N`, and what has a meaning escaped."""
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace("\t", "\\t")
        return escaped.replace("\n", "\\n").replace("\r", "\\r")
    if value is None:
        return _NULL
    if isinstance(value, dict | list):
        return _spelled(json.dumps(value))
    return str(value)
