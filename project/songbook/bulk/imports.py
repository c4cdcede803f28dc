"""Many rows in one body: validated while they come, stored together when all of them are there."""

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from hashlib import sha256
from typing import Any, Literal, cast

import asyncpg
from fastapi import Depends
from sqlmodel import SQLModel
from starlette.requests import Request
from starlette.responses import Response

from songbook.bulk.copy import OnConflict, copy_in
from songbook.bulk.csv_parser import CsvFeed
from songbook.bulk.parsers import Feed, NdjsonFeed
from songbook.bulk.spool import Spool
from songbook.crud import Write, begin_write, read_key
from songbook.db import Database
from songbook.errors import Conflict, ImportReport, TooSlow, Unacceptable, Unavailable, problem_of
from songbook.http import (
    CSV,
    DRY_RUN,
    JSON,
    NDJSON,
    STALLED_SECONDS,
    Alternative,
    StrictRequest,
    check_declared,
    is_tried,
    media_type_of,
    option,
    read_options,
)
from songbook.models import Record, natural_key, table_of

FEEDS: dict[str, type[Feed]] = {CSV: CsvFeed, NDJSON: NdjsonFeed}
PIECE = 16 * 1024
"""How many bytes are read at once: with four times as many the process grows by 60 MB, not by 9."""

OnError = Literal["abort", "skip"]

_ON_ERROR = option(
    "on_error", "Of many rows: `skip` stores those that fit, though others do not.", "abort", "skip"
)
_ON_CONFLICT = option(
    "on_conflict",
    "Of many rows: `skip` passes over those that are there already, `update` replaces them.",
    *("abort", "skip", "update"),
)
_IGNORE = option("ignore", "Of many rows: a column to leave out; may be repeated.", many=True)

_COPIED_LINE = re.compile(r"COPY [^,]+, [^0-9]*([0-9]+)")  # in whatever language

# Each has files on disk, and a sender who may take his time.
_uploads = asyncio.Semaphore(64)

# One for all: the requests of others are never further away than a piece of one import.
_thread = ThreadPoolExecutor(1, thread_name_prefix="import")


class Imports(Alternative):
    """The body of a POST that has many rows, each of them as the model has it."""

    media_types = (CSV, NDJSON)
    refuses = (400, 408, 409, 413, 415, 422, 503, 507)

    def __init__(self, table: type[Record], model: type[SQLModel]) -> None:
        if unstored(table, model):
            raise TypeError(
                f"{model.__name__} has fields that are no columns: it is not for imports"
            )
        self._table = table
        self._model = model
        self.parameters = (_ON_ERROR, *([_ON_CONFLICT] if natural_key(table) else ()), _IGNORE)

    async def answer(self, request: Request) -> Response:
        """Store the rows; answer with what became of them."""
        assert isinstance(request, StrictRequest)
        check_declared(request, (JSON, *self.media_types), "header=present")
        given = read_options(request.scope["query_string"], (DRY_RUN, *self.parameters))
        write = begin_write(request, read_key(request), dry_run=is_tried(given))
        if _uploads.locked():
            raise Unavailable("Too many imports are under way: try again.")
        async with _uploads:
            return await self._store(request, given, write)

    async def _store(
        self, request: StrictRequest, given: dict[str, list[str]], write: Write
    ) -> Response:
        with closing(self._spool(request, given)) as spool:
            await _receive(request, spool)
            report = kept(spool)
            if spool.tally.good:
                driver = await write.begin(bulk=True)
                on_conflict = cast("OnConflict", given.get("on_conflict", ["abort"])[0])
                db: Database = request.app.state.database
                report = await store(db, driver, self._table, spool, on_conflict)
        return Response(report.model_dump_json(), 201 if report.stored else 200, media_type=JSON)

    def _spool(self, request: StrictRequest, given: dict[str, list[str]]) -> Spool:
        settings = request.app.state.settings
        feed = FEEDS[media_type_of(request)]
        rows = feed(self._model, given.get("ignore", []), settings.import_line)
        skips = given.get("on_error") == ["skip"]
        return Spool(rows, settings.import_bytes, keeps_good=skips)


def unstored(table: type[Record], model: type[SQLModel]) -> list[str]:
    """Return the fields of a body that its table does not store as they are sent."""
    return [name for name in model.model_fields if name not in table_of(table).c]


def imports_of(table: type[Record], model: type[SQLModel]) -> Any:
    """Return the dependency of a route that lets it take many rows, as CSV and as NDJSON."""
    return Depends(Imports(table, model))


def kept(spool: Spool) -> ImportReport:
    """Return the report of rows that were read; raise Unacceptable if none can be stored."""
    tally = spool.tally
    if tally.refused and not (spool.keeps_good and tally.good):
        number = f"{tally.refused} of {tally.read} rows"
        advice = "" if spool.keeps_good else ": mend them, or leave them out with `on_error=skip`"
        detail = f"{number} do not fit, and nothing was stored{advice}."
        raise Unacceptable(detail, report=tally.report(given_up=True))
    return tally.report()


async def store(
    db: Database,
    driver: asyncpg.Connection,
    table: type[Record],
    spool: Spool,
    on_conflict: OnConflict,
) -> ImportReport:
    """Store the rows of a spool in the transaction of a connection; return the report.

    Raises Conflict, with the line, when a row is there already; TimeoutError, and asyncpg's errors
    as they are.
    """
    rows = spool.rewind()
    try:
        stored = await copy_in(db, driver, table, spool.columns, rows, on_conflict)
    except asyncpg.IntegrityConstraintViolationError as error:
        raise _conflict(error, spool) from None
    return spool.tally.report(stored)


def _conflict(error: asyncpg.PostgresError, spool: Spool) -> BaseException:
    """Return the problem of a row that PostgreSQL refuses, by the line that it begins on."""
    problem = problem_of(error)
    copied = _COPIED_LINE.search(error.context or "")
    if not isinstance(problem, Conflict) or copied is None:
        return problem
    line, first = spool.line_of(int(copied[1])), next(iter(problem.errors), None)
    told = (first.type, first.pointer) if first else (problem.slug,)
    spool.tally.refuse(line, problem.detail, *told)
    report = spool.tally.report(given_up=True)
    detail = f"Line {line}: {problem.detail}, and nothing was stored."
    return Conflict(detail, errors=problem.errors, report=report)


async def _receive(request: StrictRequest, spool: Spool) -> None:
    """Read the body into a spool; keep its digest.

    Raises TooSlow when it does not come in time, or nothing of it for too long.
    """
    settings, digest = request.app.state.settings, sha256()
    loop = asyncio.get_running_loop()
    gathered, deadline = bytearray(), loop.time() + settings.bulk_seconds
    try:
        async with asyncio.timeout_at(deadline) as patience:
            async for piece in request.pieces(settings.import_bytes):
                patience.reschedule(min(deadline, loop.time() + STALLED_SECONDS))
                digest.update(piece)
                gathered += piece
                while len(gathered) >= PIECE:
                    await loop.run_in_executor(_thread, spool.take, bytes(gathered[:PIECE]))
                    del gathered[:PIECE]
            await loop.run_in_executor(_thread, spool.finish, bytes(gathered))
    except TimeoutError:
        raise TooSlow from None
    request.digested = digest.digest()
