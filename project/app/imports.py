"""Many rows in one body: validated while they come, stored together when all of them are there."""

import asyncio
import re
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from hashlib import sha256
from typing import Any, Literal, cast

import asyncpg
from fastapi import Depends
from sqlmodel import SQLModel
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from app.bodies import StrictRequest, check_encoding, media_type_of
from app.copying import OnConflict, copy_in
from app.csv_feeds import CsvFeed
from app.db import Database
from app.failures import problem_of
from app.feeds import Feed, NdjsonFeed
from app.formats import CSV, JSON, NDJSON
from app.guards import Alternative
from app.idempotency import read_key
from app.options import DRY_RUN, option, read_options
from app.problems import Conflict, TooLarge, TooSlow, Unacceptable
from app.records import Record, natural_key
from app.reports import ImportReport
from app.spools import Spool
from app.writes import begin_write

FEEDS: dict[str, type[Feed]] = {CSV: CsvFeed, NDJSON: NdjsonFeed}
PIECE = 64 * 1024
"""How many bytes are read at once, at least, if they are there."""

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

_MOST_DIGITS = 15
_COPIED_LINE = re.compile(r"COPY [^,]+, [^0-9]*([0-9]+)")  # in whatever language

# One for all: the requests of others are never further away than a piece of one import.
_thread = ThreadPoolExecutor(1, thread_name_prefix="import")


class Imports(Alternative):
    """The body of a POST that has many rows, each of them as the model has it."""

    media_types = (CSV, NDJSON)
    refuses = (400, 408, 409, 413, 415, 422, 503, 507)

    def __init__(self, table: type[Record], model: type[SQLModel]) -> None:
        self._table = table
        self._model = model
        self.parameters = (_ON_ERROR, *([_ON_CONFLICT] if natural_key(table) else ()), _IGNORE)

    async def answer(self, request: Request) -> Response:
        """Store the rows; answer with what became of them."""
        assert isinstance(request, StrictRequest)
        check_encoding(request, "header=present")
        given = read_options(request.scope["query_string"], (DRY_RUN, *self.parameters))
        is_tried = given.get("dry_run") == ["true"]
        write = begin_write(request, read_key(request), dry_run=is_tried)
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
    line, first = spool.line_of(int(copied[1])), next(iter(problem.errors))
    spool.tally.refuse(line, problem.detail, first.type, first.pointer)
    report = spool.tally.report(given_up=True)
    detail = f"Line {line}: {problem.detail}, and nothing was stored."
    return Conflict(detail, errors=problem.errors, report=report)


async def _receive(request: StrictRequest, spool: Spool) -> None:
    """Read the body into a spool; keep what tells it from all others."""
    settings, digest = request.app.state.settings, sha256()
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(settings.bulk_seconds):
            async for piece, is_last in _pieces(request, settings.import_bytes):
                digest.update(piece)
                await loop.run_in_executor(_thread, partial(spool.take, piece, is_last=is_last))
    except TimeoutError:
        raise TooSlow(f"The body did not come within {settings.bulk_seconds} seconds.") from None
    request.digested = digest.digest()


async def _pieces(request: StrictRequest, most: int) -> AsyncIterator[tuple[bytes, bool]]:
    """Give the body in pieces, and whether each is the last; raise TooLarge beyond `most` bytes."""
    declared = request.headers.get("content-length", "0")
    if len(declared) > _MOST_DIGITS or int(declared) > most:
        raise _too_large(most)
    read, piece, is_last = 0, b"", False
    while not is_last:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body = message.get("body", b"")
        read, piece = read + len(body), piece + body
        if read > most:
            raise _too_large(most)
        is_last = not message.get("more_body", False)
        if is_last or len(piece) >= PIECE:
            yield piece, is_last
            piece = b""


def _too_large(most: int) -> TooLarge:
    return TooLarge(f"The body is larger than {most} bytes.")
