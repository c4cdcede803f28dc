"""Imports: rows are validated while they arrive and stored in one transaction at the end."""

import asyncio
import heapq
import re
from array import array
from collections.abc import Awaitable, Mapping
from contextlib import closing
from itertools import chain, islice, repeat
from typing import Any, Literal, cast

import asyncpg
from sqlmodel import SQLModel
from starlette.responses import Response

from songbook.bulk.copy import (
    OnConflict,
    bulk_settings,
    copy_in,
    discard_orphans,
    merge,
    references_of,
    stage,
)
from songbook.bulk.csv_parser import CsvParser
from songbook.bulk.parsers import NdjsonParser, RowParser
from songbook.bulk.spool import Spool
from songbook.crud import Records, Replayed, Transaction, begin_bulk
from songbook.db import Database, Principal
from songbook.errors import (
    MAX_REFUSALS,
    NO_SUCH_RECORD,
    Conflict,
    ImportReport,
    RequestTimeout,
    UnprocessableContent,
    field_error,
    to_problem,
)
from songbook.http import (
    BULK_BYTES_PER_SECOND,
    CSV,
    DRY_RUN,
    JSON,
    NDJSON,
    BulkBody,
    Completion,
    Pace,
    StrictRequest,
    is_dry_run,
    option,
    read_options,
)
from songbook.metrics import REFUSALS, Counter
from songbook.models import Record, natural_key, owner_columns, plural_name, table_of

Options = Mapping[str, list[str]]

PARSERS: dict[str, type[RowParser]] = {CSV: CsvParser, NDJSON: NdjsonParser}
CHUNK = 16 * 1024
"""How many bytes are parsed at once: with four times as many a process grows by 60 MB, not 9."""

OnError = Literal["abort", "skip"]

_ON_ERROR = option(
    "on_error", "`skip` stores the valid rows and reports the others.", "abort", "skip"
)
_ON_CONFLICT = option(
    "on_conflict",
    "`skip` keeps rows that exist already, `update` replaces them.",
    *("abort", "skip", "update"),
)
_IGNORE = option("ignore", "A column to leave out; may be repeated.", many=True)

_COPIED_LINE = re.compile(r"COPY [^,]+, [^0-9]*([0-9]+)")  # in any language

_IMPORTS = Counter("songbook_imports_total", "Imports by outcome.", ("resource", "outcome"))
_ROWS = Counter("songbook_imported_rows_total", "Rows that imports stored.", ("resource",))


class BulkImport(BulkBody):
    """The body of a POST with many rows as CSV or NDJSON."""

    media_types = (CSV, NDJSON)
    error_statuses = (400, 408, 409, 413, 415, 422, 503, 507)

    def __init__(self, records: Records, model: type[SQLModel]) -> None:
        self._table = records.table
        self._model = model
        if unstored_fields(self._table, model):
            raise TypeError(f"{model.__name__} has fields without a column: it cannot be imported")
        on_conflict = [_ON_CONFLICT] if natural_key(self._table) else []
        self.parameters = (_ON_ERROR, *on_conflict, _IGNORE)
        self._options = (DRY_RUN, *self.parameters)

    async def open(
        self, request: StrictRequest, media_type: str
    ) -> tuple[Completion, Awaitable[Response]]:
        """Return the transaction and the awaitable response, an import report."""
        options = read_options(request.scope["query_string"], self._options, request.route.defaults)
        transaction = begin_bulk(request, dry_run=is_dry_run(options))
        return transaction, self._counted(request, media_type, transaction, options)

    async def _counted(
        self, request: StrictRequest, media_type: str, transaction: Transaction, options: Options
    ) -> Response:
        """Return the response; count the import and, unless it is a dry run, its rows."""
        resource, outcome = plural_name(self._table), "failed"
        try:
            report = await self._store(request, media_type, transaction, options)
            outcome = "dry_run" if is_dry_run(options) else "stored"
        except Replayed:
            outcome = "replayed"
            raise
        finally:
            _IMPORTS.inc(resource, outcome)
        if outcome == "stored":
            _ROWS.inc(resource, by=report.stored)
        return Response(report.model_dump_json(), 201 if report.stored else 200, media_type=JSON)

    async def _store(
        self, request: StrictRequest, media_type: str, transaction: Transaction, options: Options
    ) -> ImportReport:
        async with request.service.uploads.place(request.sender, 0):
            with closing(self._spool(request, media_type, options)) as spool:
                await _receive(request, spool)
                report = checked_report(spool)
                if spool.tally.good:
                    db = request.database
                    seconds = db.bulk_seconds
                    connection = await transaction.begin(
                        bulk_settings(seconds), bulk_seconds=seconds, client=request.sender
                    )
                    on_conflict = cast("OnConflict", options.get("on_conflict", ["abort"])[0])
                    report = await store(db, connection, self._table, spool, on_conflict)
        return report

    def _spool(self, request: StrictRequest, media_type: str, options: Options) -> Spool:
        settings = request.service.settings
        rows = PARSERS[media_type](self._model, options.get("ignore", []), settings.import_line)
        skips = options.get("on_error") == ["skip"]
        owner = owner_of_rows(self._table, request.principal)
        return Spool(rows, settings.import_bytes, skip_errors=skips, constants=owner)


def owner_of_rows(table: type[Record], principal: Principal | None) -> dict[str, Any]:
    """Return the column of the owner of imported rows with its value, empty without owners.

    Raises RuntimeError without a principal.
    """
    names = [column.name for column in owner_columns(table_of(table))]
    if names and (principal is None or principal.id is None):
        raise RuntimeError("the rows of an import need an owner: give the route the rule OWNER")
    return {name: principal.id for name in names if principal}


def unstored_fields(table: type[Record], model: type[SQLModel]) -> list[str]:
    """Return the fields of a model that are not columns of the table."""
    return [name for name in model.model_fields if name not in table_of(table).c]


def imports_of(records: Records, model: type[SQLModel]) -> BulkImport:
    """Return the body for imports of rows of `model`. Raises TypeError for `unstored_fields`."""
    return BulkImport(records, model)


def checked_report(spool: Spool) -> ImportReport:
    """Return the report of the rows. Raises UnprocessableContent if none can be stored."""
    tally = spool.tally
    if tally.refused and not (spool.skip_errors and tally.good):
        failed = f"{tally.refused} of {tally.read} rows failed validation"
        advice = (
            ""
            if spool.skip_errors
            else ": send corrected rows, or skip invalid ones with `on_error=skip`"
        )
        detail = f"{failed}, and nothing was stored{advice}."
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

    Raises Conflict, with the line, for a row that exists or refers to no record, TimeoutError, and
    asyncpg's errors.
    """
    columns = spool.columns
    references = references_of(table, columns)
    if references or on_conflict != "abort":
        await stage(db, connection, table, columns, spool.rewind())
    orphans = {
        reference: await discard_orphans(db, connection, table, columns, reference)
        for reference in references
    }
    await _reject_orphans(spool, orphans)
    try:
        if on_conflict == "abort":
            stored = await copy_in(db, connection, table_of(table), columns, spool.rewind())
        else:
            stored = await merge(db, connection, table, columns, on_conflict)
    except asyncpg.IntegrityConstraintViolationError as error:
        raise _conflict(error, spool) from None
    return spool.tally.report(stored)


async def _reject_orphans(spool: Spool, orphans: Mapping[str, "array[int]"]) -> None:
    """Discard rows that refer to no record. Raises Conflict if they are not to be skipped."""
    number = sum(map(len, orphans.values()))
    if not number:
        return
    found = heapq.merge(*(zip(places, repeat(field)) for field, places in orphans.items()))
    rows = [(spool.line_of(place), field) for place, field in islice(found, MAX_REFUSALS)]
    spool.tally.reject_missing(rows, number)
    if not (spool.skip_errors and spool.tally.good):
        line, field = rows[0]
        errors = [field_error("body", field, NO_SUCH_RECORD, "foreign_key")]
        detail = f"Line {line}: {NO_SUCH_RECORD}, so nothing was stored."
        raise Conflict(detail, errors=errors, report=spool.tally.report(given_up=True))
    await asyncio.to_thread(spool.discard, chain.from_iterable(orphans.values()))


def _conflict(error: asyncpg.PostgresError, spool: Spool) -> BaseException:
    """Return the problem of a row that PostgreSQL rejects, with the line it begins on."""
    problem = to_problem(error)
    match = _COPIED_LINE.search(error.context or "")
    if not isinstance(problem, Conflict) or match is None:
        return problem
    line, first = spool.line_of(int(match[1])), next(iter(problem.errors), None)
    message = (first.type, first.pointer) if first else (problem.slug,)
    spool.tally.reject(line, problem.detail, *message)
    report = spool.tally.report(given_up=True)
    detail = f"Line {line}: {problem.detail}, so nothing was stored."
    return Conflict(detail, errors=problem.errors, report=report)


async def _receive(request: StrictRequest, spool: Spool) -> None:
    """Read the body into a spool. Raises RequestTimeout if it is too slow or stalls."""
    settings, thread = request.service.settings, request.service.import_thread
    loop = asyncio.get_running_loop()
    buffer, begun, seconds = bytearray(), loop.time(), settings.body_seconds
    deadline = begun + settings.bulk_seconds
    pace = Pace(begun, seconds, BULK_BYTES_PER_SECOND, most=2 * seconds)
    try:
        async with asyncio.timeout_at(min(deadline, pace.deadline)) as timeout:
            async for chunk in request.hashed_chunks(settings.import_bytes):
                came = loop.time()
                timeout.reschedule(deadline)  # the client need not send while rows are written
                buffer += chunk
                while len(buffer) >= CHUNK:
                    await loop.run_in_executor(thread, spool.write, bytes(buffer[:CHUNK]))
                    del buffer[:CHUNK]
                now = loop.time()
                pace.advance(now, len(chunk), paused=now - came)
                timeout.reschedule(min(deadline, pace.deadline))
            await loop.run_in_executor(thread, spool.finish, bytes(buffer))
    except TimeoutError:
        REFUSALS.inc("bulk_seconds" if loop.time() >= deadline else "body_seconds")
        raise RequestTimeout from None
