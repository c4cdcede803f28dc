"""Rows from a CSV file into a table: every row validated, all of them in one transaction."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import asyncpg
from pydantic import ValidationError
from sqlalchemy.engine import URL
from sqlmodel import SQLModel

from app.field_errors import reasons_of
from app.records import Record, noun_of, table_of
from app.settings import StartError
from app.startup import opened_database

MOST_LISTED = 1000
_ROWS_BETWEEN_REPORTS = 500


@dataclass
class Report:
    """What an import did."""

    stored: int = 0
    bad: int = 0
    reasons: list[str] = field(default_factory=list)
    """The first of the rows that do not fit, each by its line and the reason."""

    progress: Callable[[], None] = lambda: None
    """Called now and then while rows are stored."""

    @property
    def listed(self) -> list[str]:
        """Return the rows that were refused, one a line."""
        more = self.bad - len(self.reasons)
        return [*self.reasons, *([f"and {more} more"] if more else [])]

    def refuse(self, line: int, reason: str) -> None:
        """Note a row that does not fit."""
        self.bad += 1
        if len(self.reasons) < MOST_LISTED:
            self.reasons.append(f"line {line}: {reason}")


class Source:
    """A CSV file (RFC 4180, UTF-8) whose header names fields of a resource."""

    def __init__(
        self, path: Path, file: BinaryIO, model: type[SQLModel], ignored: Sequence[str]
    ) -> None:
        self._bytes = file
        self.path = path
        self.size = path.stat().st_size
        self.model = model
        self._reader = csv.reader(
            io.TextIOWrapper(self._bytes, "utf-8-sig", newline=""), strict=True
        )
        self._header = self._next() or []
        self._check_header(ignored)
        self._ignored = set(ignored)

    @property
    def read(self) -> int:
        """Return how many bytes were read so far."""
        return self._bytes.tell() if self._bytes.seekable() else 0

    def rows(self, report: Report) -> Iterator[tuple[Any, ...]]:
        """Give the rows that fit, in the order of the fields; note the others in the report."""
        optional = {
            name for name, info in self.model.model_fields.items() if not info.is_required()
        }
        while True:
            line = self._reader.line_num + 1
            values = self._next()
            if values is None:
                return
            if len(values) != len(self._header):
                if values:
                    report.refuse(
                        line, f"has {len(values)} values where the header names {len(self._header)}"
                    )
                continue
            row = {
                name: value
                for name, value in zip(self._header, values, strict=True)
                if name not in self._ignored
            }
            sent = {name: value for name, value in row.items() if value or name not in optional}
            try:
                fields = self.model.model_validate(sent).model_dump()
            except ValidationError as error:
                report.refuse(line, reasons_of(error))
            else:
                yield tuple(fields.values())

    def _next(self) -> list[str] | None:
        """Return the next record, None at the end; raise StartError if it is no CSV in UTF-8."""
        try:
            return next(self._reader, None)
        except (UnicodeDecodeError, csv.Error) as error:
            reason = "not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
            raise StartError(
                f"{self.path}, about line {self._reader.line_num + 1}: {reason}."
            ) from None

    def _check_header(self, ignored: Sequence[str]) -> None:
        """Refuse columns that are unknown, missing or there twice, by name."""
        fields = self.model.model_fields
        required = [name for name, info in fields.items() if info.is_required()]
        doubled = {name for name in self._header if self._header.count(name) > 1}
        unknown = [name for name in self._header if name not in fields and name not in ignored]
        missing = [name for name in required if name not in self._header]
        absent = [name for name in ignored if name not in self._header]
        if doubled:
            raise StartError(f"{self.path} names the column {', '.join(sorted(doubled))} twice.")
        if unknown:
            hint = " ".join(f"--ignore {name}" for name in unknown)
            names = ", ".join(unknown)
            raise StartError(f"{self.path} has columns that are no fields: {names}. Add {hint}.")
        if missing:
            names = ", ".join(missing)
            raise StartError(f"{self.path} lacks in its first line the column {names}.")
        if absent:
            raise StartError(f"{self.path} has no column {', '.join(absent)} to ignore.")


def check_importable(table: type[Record], model: type[SQLModel]) -> None:
    """Raise StartError if a table does not store the fields of a body as they are sent."""
    other = [name for name in model.model_fields if name not in table_of(table).c]
    if other:
        why = f"{', '.join(other)} is not stored as it is sent"
        raise StartError(f"no {noun_of(table).lower()} can be imported, because {why}: POST them.")


@contextmanager
def opened(path: Path, model: type[SQLModel], ignored: Sequence[str]) -> Iterator[Source]:
    """Open a CSV file; raise StartError when it cannot be read or its header does not fit."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise StartError(f"{path} cannot be read: {error.strerror}.") from None
    with file:
        yield Source(path, file, model, ignored)


def import_rows(
    url: URL, table: type[Record], source: Source, report: Report, *, skip_bad: bool
) -> None:
    """Copy the rows of a file into a table, in one transaction; note in the report what is done.

    Raises StartError, with nothing stored, when rows do not fit and are not to be left out, and
    when the database refuses them.
    """
    asyncio.run(_copy(url, table, source, report, skip_bad=skip_bad))


async def _copy(
    url: URL, table: type[Record], source: Source, report: Report, *, skip_bad: bool
) -> None:
    async def rows() -> AsyncIterator[tuple[Any, ...]]:
        for row in source.rows(report):
            report.stored += 1
            if report.stored % _ROWS_BETWEEN_REPORTS == 0:
                report.progress()
            yield row
        if report.bad and not skip_bad:
            advice = "mend them or add --skip-bad"
            raise StartError(f"{report.bad} rows do not fit, nothing was stored: {advice}.")

    try:
        async with opened_database(url) as db:
            await db.copy(table_of(table).name, list(source.model.model_fields), rows())
    except asyncpg.PostgresError as error:
        reason = (error.detail or error.message).rstrip(".")
        raise StartError(f"nothing was stored: {reason}.") from None
