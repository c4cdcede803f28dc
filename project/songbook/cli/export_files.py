"""Files with the rows of a resource, written on the command line as the service writes answers."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO, NamedTuple

import asyncpg
from sqlalchemy.engine import URL
from sqlmodel import SQLModel

from songbook.bulk import copy_out
from songbook.config import Settings, StartError
from songbook.crud import Records
from songbook.db import Database, opened_database
from songbook.errors import Problem, faults_of
from songbook.http import read_query_string
from songbook.lists import MOST_PARAMETERS, ListParams, export_query, page_query, parse_params
from songbook.models import Record

Progress = Callable[[int, int | None], None]


class Rows(NamedTuple):
    """The rows of a resource that a query string asks for, in a format."""

    table: type[Record]
    public: type[SQLModel]
    media_type: str
    query: str = ""


def export_file(
    url: URL, rows: Rows, path: Path | None, settings: Settings, progress: Progress | None
) -> int:
    """Write rows to a file, or to standard output; return how many there were.

    The file appears, or is replaced, when it is complete. `progress`, if anybody wants to know, is
    told how many of how many rows are written. Raises StartError.
    """
    try:
        query = read_query_string(rows.query.encode(), MOST_PARAMETERS)
        params = parse_params(Records(rows.table, rows.public), query)
        params.require_format(rows.media_type)
        with _created(path) as file:
            return asyncio.run(_write(url, params, rows.media_type, settings, file, progress))
    except Problem as problem:
        reason = f"{faults_of(problem.errors)}." if problem.errors else problem.detail
        raise StartError(f"nothing was exported: {reason}") from None
    except (asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
        raise StartError(f"nothing was exported: {error or 'it took too long'}.") from None


async def _write(
    url: URL,
    params: ListParams,
    media_type: str,
    settings: Settings,
    file: BinaryIO,
    progress: Progress | None,
) -> int:
    written, total = 0, None
    async with opened_database(url, bulk_seconds=settings.bulk_seconds) as db:
        if progress:
            total = await _number(db, params)

        async def sink(piece: bytes) -> None:
            nonlocal written
            file.write(piece)
            written += piece.count(b"\n")
            if progress:
                progress(written, total)

        return await copy_out(db, export_query(params, media_type), media_type, sink)


async def _number(db: Database, params: ListParams) -> int | None:
    """Return how many rows there are, None if it takes too long to count them."""
    with suppress(asyncpg.PostgresError, TimeoutError):
        row = await db.fetch(page_query(params, with_total=True))
        assert row is not None, "an aggregate gives a row"
        return int(row["total"])
    return None


@contextmanager
def _created(path: Path | None) -> Iterator[BinaryIO]:
    """Give a file that takes its name, and another's place, when all is written.

    What is no file, as a device or a pipe, is written to as it is.
    """
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.flush()
        return
    path = part = path.resolve()
    if path.is_file() or not path.exists():
        part = path.with_name(f".{path.name}.{token_hex(4)}.part")
    try:
        with part.open("wb") as file:
            yield file
        if part != path:
            part.replace(path)
    except OSError as error:
        if isinstance(error, TimeoutError):  # of the database
            raise
        raise StartError(f"{path} cannot be written: {error.strerror}.") from None
    finally:
        if part != path:
            part.unlink(missing_ok=True)
