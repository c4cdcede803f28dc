"""Many rows in one body: validated while they come, stored together when all of them are there."""

import asyncio
import re
from collections.abc import Awaitable, Mapping
from contextlib import closing
from typing import Literal, cast

import asyncpg
from sqlmodel import SQLModel
from starlette.responses import Response

from songbook.bulk.copy import OnConflict, bulk_settings, copy_in
from songbook.bulk.csv_parser import CsvParser
from songbook.bulk.parsers import NdjsonParser, RowParser
from songbook.bulk.spool import Spool
from songbook.crud import Records, Transaction, begin_bulk
from songbook.db import Database
from songbook.errors import (
    Conflict,
    ImportReport,
    RequestTimeout,
    ServiceUnavailable,
    UnprocessableContent,
    to_problem,
)
from songbook.http import (
    CSV,
    DRY_RUN,
    JSON,
    NDJSON,
    STALLED_SECONDS,
    BulkBody,
    Completion,
    StrictRequest,
    is_dry_run,
    option,
    read_options,
)
from songbook.models import Record, natural_key, table_of

Options = Mapping[str, list[str]]

PARSERS: dict[str, type[RowParser]] = {CSV: CsvParser, NDJSON: NdjsonParser}
CHUNK = 16 * 1024
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


class BulkImport(BulkBody):
    """The body of a POST that has many rows, each of them as the model has it."""

    media_types = (CSV, NDJSON)
    error_statuses = (400, 408, 409, 413, 415, 422, 503, 507)

    def __init__(self, records: Records, model: type[SQLModel]) -> None:
        self._table = records.table
        self._model = model
        if unstored_fields(self._table, model):
            raise TypeError(
                f"{model.__name__} has fields that are no columns: it is not for imports"
            )
        on_conflict = [_ON_CONFLICT] if natural_key(self._table) else []
        self.parameters = (_ON_ERROR, *on_conflict, _IGNORE)
        self._options = (DRY_RUN, *self.parameters)

    async def open(
        self, request: StrictRequest, media_type: str
    ) -> tuple[Completion, Awaitable[Response]]:
        """Begin to store the rows; the response tells what became of them."""
        options = read_options(request.scope["query_string"], self._options)
        transaction = begin_bulk(request, dry_run=is_dry_run(options))
        return transaction, self._respond(request, media_type, transaction, options)

    async def _respond(
        self, request: StrictRequest, media_type: str, transaction: Transaction, options: Options
    ) -> Response:
        if request.service.upload_slots.locked():
            raise ServiceUnavailable("Too many imports are under way: try again.")
        async with request.service.upload_slots:
            with closing(self._spool(request, media_type, options)) as spool:
                await _receive(request, spool)
                report = checked_report(spool)
                if spool.tally.good:
                    db = request.service.database
                    seconds = db.bulk_seconds
                    connection = await transaction.begin(
                        bulk_settings(seconds), bulk_seconds=seconds
                    )
                    on_conflict = cast("OnConflict", options.get("on_conflict", ["abort"])[0])
                    report = await store(db, connection, self._table, spool, on_conflict)
        return Response(report.model_dump_json(), 201 if report.stored else 200, media_type=JSON)

    def _spool(self, request: StrictRequest, media_type: str, options: Options) -> Spool:
        settings = request.service.settings
        rows = PARSERS[media_type](self._model, options.get("ignore", []), settings.import_line)
        skips = options.get("on_error") == ["skip"]
        return Spool(rows, settings.import_bytes, skip_errors=skips)


def unstored_fields(table: type[Record], model: type[SQLModel]) -> list[str]:
    """Return the fields of a body that its table does not store as they are sent."""
    return [name for name in model.model_fields if name not in table_of(table).c]


def imports_of(records: Records, model: type[SQLModel]) -> BulkImport:
    """Return the body of a POST that takes many rows, each a `model`, as CSV and as NDJSON.

    Raises TypeError for a model with fields that the table does not store as they are sent.
    """
    return BulkImport(records, model)


def checked_report(spool: Spool) -> ImportReport:
    """Return the report of rows that were read.

    Raises UnprocessableContent if none can be stored.
    """
    tally = spool.tally
    if tally.refused and not (spool.skip_errors and tally.good):
        number = f"{tally.refused} of {tally.read} rows"
        advice = "" if spool.skip_errors else ": mend them, or leave them out with `on_error=skip`"
        detail = f"{number} do not fit, and nothing was stored{advice}."
        raise UnprocessableContent(detail, report=tally.report(given_up=True))
    return tally.report()


async def store(
    db: Database,
    connection: asyncpg.Connection,
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
        stored = await copy_in(db, connection, table, spool.columns, rows, on_conflict)
    except asyncpg.IntegrityConstraintViolationError as error:
        raise _conflict(error, spool) from None
    return spool.tally.report(stored)


def _conflict(error: asyncpg.PostgresError, spool: Spool) -> BaseException:
    """Return the problem of a row that PostgreSQL refuses, by the line that it begins on."""
    problem = to_problem(error)
    copied = _COPIED_LINE.search(error.context or "")
    if not isinstance(problem, Conflict) or copied is None:
        return problem
    line, first = spool.line_of(int(copied[1])), next(iter(problem.errors), None)
    message = (first.type, first.pointer) if first else (problem.slug,)
    spool.tally.refuse(line, problem.detail, *message)
    report = spool.tally.report(given_up=True)
    detail = f"Line {line}: {problem.detail}, and nothing was stored."
    return Conflict(detail, errors=problem.errors, report=report)


async def _receive(request: StrictRequest, spool: Spool) -> None:
    """Read the body into a spool.

    Raises RequestTimeout when it does not come in time, or nothing of it for too long.
    """
    settings, thread = request.service.settings, request.service.import_thread
    loop = asyncio.get_running_loop()
    gathered, deadline = bytearray(), loop.time() + settings.bulk_seconds
    try:
        async with asyncio.timeout_at(deadline) as patience:
            async for chunk in request.hashed_chunks(settings.import_bytes):
                patience.reschedule(min(deadline, loop.time() + STALLED_SECONDS))
                gathered += chunk
                while len(gathered) >= CHUNK:
                    await loop.run_in_executor(thread, spool.write, bytes(gathered[:CHUNK]))
                    del gathered[:CHUNK]
            await loop.run_in_executor(thread, spool.finish, bytes(gathered))
    except TimeoutError:
        raise RequestTimeout from None
