"""The command line: `python -m app …`."""

import asyncio
import errno
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Annotated

import typer
import uvicorn
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from sqlalchemy.engine import URL

from app import imports, resources
from app.db import Database, SilentError, located, probe
from app.records import Record
from app.settings import Settings, StartError, load_settings

cli = typer.Typer(
    name="python -m app",
    help="Songbook: an asynchronous REST microservice.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
_ALEMBIC = Path(__file__).parents[1] / "alembic.ini"
_GRACEFUL_SECONDS = 20
_KEEP_ALIVE_SECONDS = 75


@cli.command()
def serve(
    host: Annotated[str | None, typer.Option(help="The address to listen on [HOST].")] = None,
    port: Annotated[int | None, typer.Option(help="The port to listen on [PORT].")] = None,
    workers: Annotated[int | None, typer.Option(help="How many processes serve [WORKERS].")] = None,
    migrate: Annotated[
        bool | None,
        typer.Option(
            help="Apply the migrations first; by default only on the embedded PostgreSQL."
        ),
    ] = None,
) -> None:
    """Serve HTTP until Ctrl-C or SIGTERM."""
    given = {"host": host, "port": port, "workers": workers}
    settings = load_settings(**{name: value for name, value in given.items() if value is not None})
    _check_port(settings)
    # uvicorn raises the signal again when it has finished: the exit handlers must still run
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    with located(settings) as url:
        _check_database(url)
        if migrate or (migrate is None and settings.url is None):
            _upgrade()
        address = f"http://{'localhost' if settings.host in {'127.0.0.1', '0.0.0.0'} else settings.host}:{settings.port}"  # noqa: S104
        print(
            f"Songbook serves {address}: documentation at {address}/docs, Ctrl-C stops it.",
            flush=True,
        )
        uvicorn.run(
            "app.main:app",
            host=settings.host,
            port=settings.port,
            workers=settings.workers,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_GRACEFUL_SECONDS,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        )


@cli.command()
def migrate() -> None:
    """Bring the database to the newest migration; it never drops anything."""
    with located(load_settings()) as url:
        _check_database(url, must_answer=True)
        _upgrade()


@cli.command("import")
def import_file(
    resource: Annotated[str, typer.Argument(help="What the rows are: songs, …")],
    file: Annotated[Path, typer.Argument(help="A CSV file whose first line names the columns.")],
    ignore: Annotated[list[str] | None, typer.Option(help="A column to leave out.")] = None,
    skip_bad: Annotated[bool, typer.Option(help="Store the rows that fit.")] = False,
) -> None:
    """Store the rows of a CSV file: all of them, in one transaction, or none."""
    modules = resources.modules()
    if resource not in modules:
        raise StartError(f"there is no resource {resource}: there are {', '.join(modules)}.")
    classes = resources.family(modules[resource])
    source = imports.Source(file, classes.create, ignore or [])
    console = Console(stderr=True)
    begun = monotonic()
    with located(load_settings()) as url, _progress(console) as progress:
        task = progress.add_task(f"Importing {file.name}", total=source.size)
        try:
            report = asyncio.run(
                _import(
                    url,
                    classes.table,
                    source,
                    skip_bad,
                    lambda: progress.update(task, completed=source.read),
                )
            )
        except imports.RowsRefusedError as error:
            _list_refused(error.report)
            raise
    _list_refused(report)
    skipped = f", {report.bad} left out" if report.bad else ""
    print(f"{report.stored} {resource} stored in {monotonic() - begun:.1f} s{skipped}.")


async def _import(
    url: URL,
    table: type[Record],
    source: imports.Source,
    skip_bad: bool,
    progress: Callable[[], None],
) -> imports.Report:
    db = Database(url, pool_size=1)
    try:
        await probe(db)
        return await imports.import_rows(db, table, source, skip_bad=skip_bad, progress=progress)
    finally:
        await db.close()


def _progress(console: Console) -> Progress:
    """Return a progress bar that counts the bytes read; it is gone when the work is done."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, transient=True)


def _list_refused(report: imports.Report) -> None:
    for line in imports.listed(report):
        print(line, file=sys.stderr)


def _check_port(settings: Settings) -> None:
    """Refuse to start, before anything else is, where the address cannot be listened on."""
    try:
        family, kind, *_, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except OSError as error:
        reason = {
            errno.EADDRINUSE: f"port {settings.port} is in use: choose another with PORT or --port",
            errno.EACCES: f"port {settings.port} needs privileges: choose one above 1023 with PORT or --port",
        }.get(error.errno or 0, f"cannot listen on {settings.host}: correct HOST or --host")
        raise StartError(f"{reason}.") from None


def _check_database(url: URL, *, must_answer: bool = False) -> None:
    """Refuse to start where the database refuses us; wait for one that does not answer yet, unless it must."""

    async def check() -> None:
        db = Database(url, pool_size=1)
        try:
            await probe(db)
        finally:
            await db.close()

    try:
        asyncio.run(check())
    except SilentError as error:
        if must_answer:
            raise
        print(f"songbook: {error} Requests are answered 503 until it does.", file=sys.stderr)


def _upgrade() -> None:
    """Apply the migrations that are due."""
    try:
        command.upgrade(Config(_ALEMBIC), "head")
    except CommandError as error:
        raise StartError(f"the migrations cannot be applied: {error}.") from None


def main() -> None:
    """Run a command; say in one line what is wrong with the environment or the input."""
    try:
        cli()
    except StartError as error:
        sys.exit(f"songbook: {error}")


if __name__ == "__main__":
    main()
