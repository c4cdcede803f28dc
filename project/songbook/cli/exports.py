"""The command `export`: rows of a resource, written as the service writes responses."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from time import monotonic
from typing import Annotated, BinaryIO

import asyncpg
import typer
from rich.progress import Progress
from sqlalchemy.engine import URL

from songbook.bulk import copy_out
from songbook.cli.service import Format, Resource, Service, media_type_of, progress_bar
from songbook.config import CommandError, Settings
from songbook.crud import Records
from songbook.db import check_database, open_database, resolve_database
from songbook.errors import Problem, one_line
from songbook.http import read_query_string
from songbook.lists import MAX_PARAMETERS, ListParams, export_query, page_query, parse_params

ExportFile = Annotated[Path | None, typer.Argument(help="Left out: standard output.")]
QueryString = Annotated[str, typer.Option(help="Which rows: year_gte=1990&sort=-year")]


class ExportCommand(Service):
    """The command that exports."""

    def export_rows(
        self,
        resource: Resource,
        file: ExportFile = None,
        query: QueryString = "",
        format: Format = None,
    ) -> None:
        """Write the rows of a resource as CSV or NDJSON, to a file or to standard output."""
        family, media_type = self.family(resource), media_type_of(file, format)
        settings, begun = self.settings.load(), monotonic()
        with resolve_database(settings) as url:
            check_database(url)
            with _explained(), progress_bar() as progress:
                options = read_query_string(query.encode(), MAX_PARAMETERS)
                params = parse_params(Records(family.table, family.public), options)
                params.require_format(media_type)
                progress.add_task(f"Exporting {resource}", total=None)
                with _created(file) as output:
                    number = asyncio.run(
                        _write(url, settings, params, media_type, output, progress)
                    )
        done = f"{number} {resource} exported in {monotonic() - begun:.1f} s."
        print(done, file=sys.stdout if file else sys.stderr)


@contextmanager
def _explained() -> Iterator[None]:
    """Raise CommandError in place of what keeps rows from being exported."""
    try:
        yield
    except Problem as problem:
        reason = f"{one_line(problem.errors)}." if problem.errors else problem.detail
        raise CommandError(f"nothing was exported: {reason}") from None
    except (asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
        raise CommandError(f"nothing was exported: {error or 'it took too long'}.") from None


async def _write(
    url: URL,
    settings: Settings,
    params: ListParams,
    media_type: str,
    file: BinaryIO,
    progress: Progress,
) -> int:
    """Write rows to a file; return how many there were."""
    [task] = progress.task_ids
    async with open_database(url, bulk_seconds=settings.bulk_seconds) as db:
        if not progress.disable:
            with suppress(asyncpg.PostgresError, TimeoutError):  # it may take too long to count
                row = await db.fetch(page_query(params, with_total=True))
                progress.update(task, total=row and row["total"])

        async def sink(piece: bytes) -> None:
            file.write(piece)
            progress.advance(task, piece.count(b"\n"))

        return await copy_out(db, export_query(params, media_type), media_type, sink)


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
        raise CommandError(f"{path} cannot be written: {error.strerror}.") from None
    finally:
        if part != path:
            part.unlink(missing_ok=True)
