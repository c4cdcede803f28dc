"""The command `import`: a CSV or NDJSON file, stored like the body of a request."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from io import BufferedReader
from pathlib import Path
from time import monotonic
from typing import Annotated, NamedTuple

import asyncpg
import typer
from rich.progress import Progress
from sqlalchemy.engine import URL

from songbook.bulk import (
    CHUNK,
    PARSERS,
    OnConflict,
    OnError,
    RowParser,
    Spool,
    bulk_settings,
    checked_report,
    owner_of_rows,
    store,
    unstored_fields,
)
from songbook.cli.principals import As, find_principal
from songbook.cli.service import Format, Resource, Service, media_type_of, progress_bar
from songbook.config import CommandError, Settings
from songbook.db import (
    Principal,
    Use,
    check_database,
    check_replication,
    open_database,
    resolve_database,
)
from songbook.errors import ImportReport, Problem, one_line
from songbook.models import Family, Record, natural_key, owner_columns, table_of

ImportFile = Annotated[Path, typer.Argument(help="A CSV file with a header, or an NDJSON file.")]
Ignore = Annotated[list[str] | None, typer.Option(help="A column to leave out; may be repeated.")]
OnErrorOption = Annotated[
    OnError, typer.Option(help="`skip` stores the valid rows and reports the others.")
]
OnConflictOption = Annotated[OnConflict, typer.Option(help="What to do with existing rows.")]
DryRun = Annotated[bool, typer.Option(help="Run the import, then roll it back.")]


class _Target(NamedTuple):
    """Where the rows of an import are stored, and whose they are."""

    url: URL
    settings: Settings
    table: type[Record]
    principal: Principal


class ImportCommand(Service):
    """The command `import`."""

    def import_rows(  # noqa: PLR0913 - the options of the command
        self,
        resource: Resource,
        file: ImportFile,
        ignore: Ignore = None,
        on_error: OnErrorOption = "abort",
        on_conflict: OnConflictOption = "abort",
        format: Format = None,
        as_: As = None,
        *,
        dry_run: DryRun = False,
    ) -> None:
        """Import a CSV or NDJSON file in one transaction."""
        family, skips = self._importable(resource, on_conflict, as_), on_error == "skip"
        settings, start = self.settings.load(), monotonic()
        with (
            _command_errors(file, family.table, skips=skips),
            _open(file) as source,
            resolve_database(settings) as url,
            progress_bar() as progress,
        ):
            check_database(url)
            target = _find_target(url, settings, family.table, as_)
            kind = PARSERS[media_type_of(file, format)]
            parser = kind(family.create, ignore or (), settings.import_line)
            with closing(_spool(target, parser, skip_errors=skips)) as spool:
                report = _read(source, spool, progress)
                if spool.tally.good:
                    report = asyncio.run(_store(target, spool, on_conflict, dry_run=dry_run))
        self._print_report(report, resource, monotonic() - start, dry_run=dry_run)

    def _importable(self, resource: str, on_conflict: OnConflict, username: str | None) -> Family:
        """Return the classes of a resource. Raises CommandError if its rows cannot be stored so."""
        family = self.family(resource)
        if fields := unstored_fields(family.table, family.create):
            reason = f"cannot be imported, because the table has no column for {', '.join(fields)}"
            raise CommandError(f"{resource} {reason}: send the rows with POST.")
        if on_conflict != "abort" and natural_key(family.table) is None:
            raise CommandError(
                f"{resource} do not have exactly one unique key: leave out --on-conflict."
            )
        if username is None and owner_columns(table_of(family.table)):
            raise CommandError(f"{resource} have owners: say whose they are with --as USERNAME.")
        return family

    def _print_report(
        self, report: ImportReport, resource: str, seconds: float, *, dry_run: bool
    ) -> None:
        _print_refusals(report)
        others = {"skipped": report.skipped, "refused": report.refused}
        left = "".join(f", {number} {what}" for what, number in others.items() if number)
        done = "would be stored" if dry_run else "stored"
        print(f"{self.amount(report.stored, resource)} {done} in {seconds:.1f} s{left}.")


@contextmanager
def _open(path: Path) -> Iterator[BufferedReader]:
    """Open a file. Raises CommandError if it cannot be read."""
    try:
        file = path.open("rb")
        file.peek(1)
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}.") from None
    with file:
        yield file


@contextmanager
def _command_errors(path: Path, table: type[Record], *, skips: bool) -> Iterator[None]:
    """Turn problems of the file and of the database into a CommandError."""
    try:
        yield
    except Problem as problem:
        raise CommandError(_reason(problem, path, table, skips=skips)) from None
    except asyncpg.QueryCanceledError:
        raise CommandError("nothing was stored: it took longer than BULK_SECONDS.") from None
    except asyncpg.PostgresError as error:
        reason = (error.detail or error.message).rstrip(".")
        raise CommandError(f"nothing was stored: {reason}.") from None
    except (asyncpg.InterfaceError, OSError) as error:
        reason = f"the database did not respond in time ({error!r})"
        raise CommandError(f"{reason}: check whether the rows are stored.") from None


def _reason(problem: Problem, path: Path, table: type[Record], *, skips: bool) -> str:
    """Return why nothing was stored; print the refused rows."""
    report = problem.report
    if report is None or not report.refusals:
        if not problem.errors:
            return f"{path}: {problem.detail}"
        return f"{path}: {one_line(problem.errors)} Leave columns out with --ignore."
    _print_refusals(report)
    if problem.status == 409:
        return f"{problem.detail}{_advice(problem, table, skips=skips)}"
    advice = "" if skips else ": correct the file or add --on-error skip"
    rows = "1 invalid row" if report.refused == 1 else f"{report.refused} invalid rows"
    return f"{rows}, nothing was stored{advice}."


def _advice(problem: Problem, table: type[Record], *, skips: bool) -> str:
    """Return what to do about a conflict: a row that exists, or that refers to no record."""
    if [error for error in problem.errors if error.type == "foreign_key"]:
        return "" if skips else " Add --on-error skip."
    return " Add --on-conflict skip or update." if natural_key(table) else ""


def _print_refusals(report: ImportReport) -> None:
    """Print the reasons for refused rows on standard error."""
    for each in report.refusals:
        field = f"{each.pointer.removeprefix('/')}: " if each.pointer else ""
        print(f"line {each.line}: {field}{each.detail}", file=sys.stderr)
    if more := report.refused - len({each.line for each in report.refusals}):
        print(f"and {more} more", file=sys.stderr)


def _read(file: BufferedReader, spool: Spool, progress: Progress) -> ImportReport:
    """Spool the valid rows of a file. Raises UnprocessableContent if none can be stored."""
    path = Path(file.name)
    task = progress.add_task(f"Importing {path.name}", total=path.stat().st_size or None)
    while chunk := file.read(CHUNK):
        spool.write(chunk)
        progress.advance(task, len(chunk))
    spool.finish(b"")
    return checked_report(spool)


def _find_target(
    url: URL, settings: Settings, table: type[Record], username: str | None
) -> _Target:
    """Return where the rows of a user go. Raises CommandError if there is no such user."""
    principal = asyncio.run(find_principal(url, table, username))
    return _Target(url, settings, table, principal)


def _spool(target: _Target, parser: RowParser, *, skip_errors: bool) -> Spool:
    """Return the spool of rows with their owner."""
    owner = owner_of_rows(target.table, target.principal)
    size = target.settings.import_bytes
    return Spool(parser, size, skip_errors=skip_errors, constants=owner)


async def _store(
    target: _Target, spool: Spool, on_conflict: OnConflict, *, dry_run: bool
) -> ImportReport:
    """Store the rows of a spool in one transaction."""
    settings = target.settings
    async with (
        open_database(target.url, bulk_seconds=settings.bulk_seconds) as db,
        db.bulk(settings.pool_timeout, Use.WRITE) as connection,
    ):
        await connection.execute(f"BEGIN; {bulk_settings(settings.bulk_seconds)}")
        own = db.for_principal(target.principal)
        report = await store(own, connection, target.table, spool, on_conflict)
        await connection.execute("ROLLBACK" if dry_run else "COMMIT")
        check_replication(connection)
        return report
