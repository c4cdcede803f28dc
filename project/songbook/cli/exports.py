"""The command `export`: a resource as CSV or NDJSON, as in a response of the service."""

import asyncio
import sys
from collections.abc import Iterator, Mapping
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
from songbook.cli.principals import As, find_principal
from songbook.cli.service import Format, Resource, Service, media_type_of, progress_bar
from songbook.config import CommandError, Settings
from songbook.db import check_database, open_database, resolve_database
from songbook.errors import Problem, one_line
from songbook.http import read_query_string
from songbook.lists import (
    MAX_PARAMETERS,
    ListParams,
    export_query,
    lists_in,
    page_query,
    parse_params,
)
from songbook.models import Relation, Relations, Representation

ExportFile = Annotated[Path | None, typer.Argument(help="Default: standard output.")]
QueryString = Annotated[str, typer.Option(help="Filters and order, as year_gte=1990&sort=-year.")]


class ExportCommand(Service):
    """The command `export`."""

    def export_rows(
        self,
        resource: Resource,
        file: ExportFile = None,
        query: QueryString = "",
        format: Format = None,
        as_: As = None,
    ) -> None:
        """Export a resource as CSV or NDJSON to a file or to standard output."""
        shown, media_type = self.representation(resource), media_type_of(file, format)
        settings, start = self.settings.load(), monotonic()
        with resolve_database(settings) as url:
            check_database(url)
            with _command_errors(), progress_bar() as progress:
                options = read_query_string(query.encode(), MAX_PARAMETERS)
                params = parse_params(shown, options, relations=self._relations(shown, settings))
                params.require_format(media_type)
                progress.add_task(f"Exporting {resource}", total=None)
                with _open_output(file) as output:
                    work = _write(url, settings, params, media_type, output, progress, as_)
                    number = asyncio.run(work)
        done = f"{self.amount(number, resource)} exported in {monotonic() - start:.1f} s."
        print(done, file=sys.stdout if file else sys.stderr)

    def _relations(self, shown: Representation, settings: Settings) -> Mapping[str, Relation]:
        """Return the relations of a resource: on the command line everything may be read."""
        listed = lists_in(self.routes(), settings)
        return Relations(listed).of(shown.table, lambda _: True)


@contextmanager
def _command_errors() -> Iterator[None]:
    """Turn problems of the query and of the database into a CommandError."""
    try:
        yield
    except Problem as problem:
        reason = one_line(problem.errors) if problem.errors else problem.detail
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
    username: str | None,
) -> int:
    """Write the rows that a user may read to a file; return their number."""
    [task] = progress.task_ids
    principal = await find_principal(url, params.records.table, username)
    async with open_database(url, bulk_seconds=settings.bulk_seconds) as opened:
        db = opened.for_principal(principal)
        if not progress.disable:
            with suppress(asyncpg.PostgresError, TimeoutError):  # counting may take too long
                row = await db.fetch(page_query(params, with_total=True))
                progress.update(task, total=row and row["total"])

        file.write(params.byte_order_mark)

        async def sink(chunk: bytes) -> None:
            with _given_up():
                file.write(chunk)
            progress.advance(task, chunk.count(b"\n"))

        return await copy_out(db, export_query(params, media_type), media_type, sink)


@contextmanager
def _given_up() -> Iterator[None]:
    """Let the event loop report no failure of the connection after an OSError in the block.

    asyncpg may fail on what PostgreSQL sends before it has received the cancel request.
    """
    try:
        yield
    except OSError:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        raise


@contextmanager
def _open_output(path: Path | None) -> Iterator[BinaryIO]:
    """Open a temporary file that replaces `path` when all is written.

    A device or a pipe is written directly. Raises CommandError if the file cannot be written.
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
