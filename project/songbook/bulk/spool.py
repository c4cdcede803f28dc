"""The spool: the valid rows of an import, on disk until all have arrived."""

import json
from array import array
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import partial
from itertools import compress
from tempfile import TemporaryFile
from types import MappingProxyType
from typing import Any, BinaryIO

from pydantic import ValidationError

from songbook.bulk.parsers import RowFault, RowParser
from songbook.bulk.tally import ImportCounter
from songbook.errors import ContentTooLarge, disk_errors

_NULL = "\\N"


class Spool:
    """Temporary files with rows in COPY's text format, in the order of `columns`.

    Rows are validated like the body of a POST. Without `skip_errors` no more rows are written after
    an invalid one, only counted. `size` is the limit in bytes. `constants` are columns with the
    same value in all rows.
    """

    def __init__(
        self,
        parser: RowParser,
        size: int,
        *,
        skip_errors: bool,
        constants: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.tally = ImportCounter()
        self._fields = [*parser.model.model_fields]
        self.columns = [*self._fields, *constants]
        self._constants = [_copy_text(value) for value in constants.values()]
        self._parser = parser
        # one instance for all rows: making one takes longer than validating it
        self._validate = partial(
            parser.model.__pydantic_validator__.validate_python,
            self_instance=parser.model.model_construct(),
        )
        self._size = size
        self.skip_errors = skip_errors
        with disk_errors():
            self.rows: BinaryIO = TemporaryFile()  # noqa: SIM115 - it is closed by `close`
            self._lines: BinaryIO = TemporaryFile()  # noqa: SIM115

    def write(self, chunk: bytes) -> None:
        """Parse a chunk. Raises InsufficientStorage, ContentTooLarge, and the parser's errors."""
        self._read(chunk, final=False)

    def finish(self, chunk: bytes) -> None:
        """Parse the last chunk, as `write` does."""
        self._read(chunk, final=True)

    def _read(self, chunk: bytes, *, final: bool) -> None:
        written: list[str] = []
        lines = array("I")
        for line, row in self._parser.feed(chunk, final=final):
            self.tally.read += 1
            if isinstance(row, RowFault):
                self.tally.reject(line, *row)
                continue
            try:
                values = self._validate(row).__dict__
            except ValidationError as error:
                self.tally.reject_fields(line, error)
                continue
            texts = [_copy_text(values[name]) for name in self._fields]
            written.append("\t".join(texts + self._constants))
            lines.append(line)
        if written and (self.skip_errors or not self.tally.refused):
            self._store("\n".join([*written, ""]).encode(), lines)

    def line_of(self, nth: int) -> int:
        """Return the first line of the `nth` row, both counted from 1."""
        self._lines.seek((nth - 1) * array("I").itemsize)
        line = array("I")
        line.fromfile(self._lines, 1)
        return line[0]

    def discard(self, places: Iterable[int]) -> None:
        """Discard rows by their places, counted from 1."""
        self._lines.seek(0)
        lines = array("I", self._lines.read())
        is_kept = bytearray(b"\1") * len(lines)
        for place in places:
            is_kept[place - 1] = 0
        kept = array("I", compress(lines, is_kept))
        rows, self.rows = self.rewind(), TemporaryFile()  # noqa: SIM115
        with disk_errors(), rows:
            self.rows.writelines(compress(rows, is_kept))
            self._lines.seek(0)
            self._lines.truncate()
            kept.tofile(self._lines)

    def rewind(self) -> BinaryIO:
        """Return the file with the rows, at its start."""
        with disk_errors():
            self.rows.seek(0)
            self._lines.seek(0)
        return self.rows

    def close(self) -> None:
        """Remove the files; errors of a full disk are ignored."""
        for file in (self.rows, self._lines):
            with suppress(OSError):
                file.close()

    def _store(self, content: bytes, lines: "array[int]") -> None:
        with disk_errors():
            self.rows.write(content)
            lines.tofile(self._lines)
            if self.rows.tell() + self._lines.tell() > self._size:
                raise ContentTooLarge(f"The rows take more than {self._size} bytes.")


def _copy_text(value: Any) -> str:
    r"""Return a value in COPY's text format: escaped, and null as `\N`."""
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace("\t", "\\t")
        return escaped.replace("\n", "\\n").replace("\r", "\\r")
    if value is None:
        return _NULL
    if isinstance(value, dict):
        return _copy_text(json.dumps(value))
    if isinstance(value, list):
        items = (each.replace("\\", "\\\\").replace('"', '\\"') for each in value)
        return _copy_text("{" + ",".join(f'"{item}"' for item in items) + "}")
    return str(value)
