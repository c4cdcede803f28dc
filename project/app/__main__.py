"""The command line: `python -m app …`."""

import json
import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from sqlalchemy.exc import DBAPIError

from app import commands
from songbook.cli import bulk as file_commands
from songbook.cli import maintenance as administration
from songbook.cli.progress import progress_bar
from songbook.config import Settings, StartError, listing, load_settings
from songbook.db.connect import SilentError, check_database, located
from songbook.server import run as serving
from songbook.server.address import check_address

cli = typer.Typer(
    name="python -m app",
    help="Songbook: an asynchronous REST microservice.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
_ALEMBIC = Path(__file__).parents[1] / "alembic.ini"
_ANY_OR_LOCAL = {"0.0.0.0", "127.0.0.1"}  # noqa: S104

Number = TypeVar("Number")

Host = Annotated[str | None, typer.Option(help="The address to listen on [HOST].")]
Port = Annotated[int | None, typer.Option(help="The port to listen on [PORT].")]
Workers = Annotated[int | None, typer.Option(help="How many processes serve [WORKERS].")]
Migrate = Annotated[
    bool | None, typer.Option(help="Migrate first; by default only the embedded PostgreSQL.")
]
Username = Annotated[str, typer.Argument(help="The name to sign in with.")]
Email = Annotated[str, typer.Argument(help="The e-mail, good for signing in as well.")]
Name = Annotated[str | None, typer.Option(help="May be left out.")]
Days = Annotated[
    int | None, typer.Option(min=0, max=36500, help="How many days ago [RETENTION_DAYS].")
]


@cli.command()
def serve(
    host: Host = None, port: Port = None, workers: Workers = None, migrate: Migrate = None
) -> None:
    """Serve HTTP until Ctrl-C or SIGTERM."""
    given = {"host": host, "port": port, "workers": workers}
    settings = load_settings(**{name: value for name, value in given.items() if value is not None})
    settings.check_production()
    port = check_address(settings.host, settings.port)
    # uvicorn raises the signal again when it has finished: the exit handlers must still run
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    with located(settings) as url:
        try:
            check_database(url)
            if migrate or (migrate is None and settings.url is None):
                _upgrade()
        except SilentError as error:
            if migrate:
                raise
            print(f"songbook: {error} Until then requests are answered 503.", file=sys.stderr)
        _announce(settings.host, port)
        serving.run(settings, port)


def _announce(host: str, port: int) -> None:
    name = f"[{host}]" if ":" in host else "localhost" if host in _ANY_OR_LOCAL else host
    address = f"http://{name}:{port}"
    print(f"Songbook is at {address}, its documentation at {address}/docs. Ctrl-C stops it.")
    sys.stdout.flush()


@cli.command()
def migrate() -> None:
    """Bring the database to the newest migration; it never drops anything."""
    with located(load_settings()) as url:
        check_database(url)
        _upgrade()


cli.command("import")(file_commands.import_rows)
cli.command("export")(file_commands.export_rows)


@cli.command()
def create_superuser(
    username: Username, email: Email, first_name: Name = None, last_name: Name = None
) -> None:
    """Store a superuser, whose password is read from standard input."""
    names = {"first_name": first_name, "last_name": last_name}
    given = {"username": username, "email": email, "password": _password(), **names}
    with located(load_settings()) as url:
        check_database(url)
        commands.create_superuser(url, **given)
    print(f"{username} is a superuser, who signs in at /api/auth/token.")


def _password() -> str:
    """Ask for a password twice, or read the line that is piped in."""
    if sys.stdin.isatty():
        asked: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
        return asked
    return sys.stdin.readline().rstrip("\r\n")


def _removed(settings: Settings, doing: str, remove: Callable[..., Number]) -> Number:
    """Remove rows from the database of the settings; show how many are gone so far."""
    with located(settings) as url:
        check_database(url)
        with progress_bar() as progress:
            task = progress.add_task(doing, total=None)

            def tell(name: str, rows: int) -> None:
                progress.update(task, description=f"{rows} {name}")

            return remove(url, progress=tell)


@cli.command()
def purge(older_than: Days = None) -> None:
    """Remove the rows that were deleted long ago; until then they can be restored."""
    settings = load_settings()
    age = timedelta(days=settings.retention_days if older_than is None else older_than)
    purged = _removed(settings, "Purging", partial(administration.purge, age=age))
    for name, rows in purged.items():
        print(f"{name} purged that were deleted {age.days} days ago or longer: {rows}.")


@cli.command()
def expire_keys() -> None:
    """Remove the idempotency keys that are older than KEY_HOURS; run it every hour or so."""
    settings = load_settings()
    age = timedelta(hours=settings.key_hours)
    expired = _removed(settings, "Expiring", partial(administration.expire_keys, age=age))
    print(f"keys expired that were sent {settings.key_hours} hours ago or longer: {expired}.")


@cli.command("settings")
def list_settings() -> None:
    """Print every setting, and where it was written; secrets are kept."""
    print("\n".join(listing.lines(load_settings())))


@cli.command()
def openapi() -> None:
    """Print the OpenAPI document."""
    from app.main import create_app  # noqa: PLC0415 - it reads the environment when it is imported

    print(json.dumps(create_app(Settings()).openapi(), indent=2))


def _upgrade() -> None:
    """Apply the migrations that are due."""
    from alembic import command  # noqa: PLC0415 - 9 MB that a process which only serves does without
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    try:
        command.upgrade(Config(_ALEMBIC), "head")
    except (CommandError, DBAPIError, OSError) as error:
        reason = getattr(error, "driver_exception", error)
        raise StartError(f"the migrations cannot be applied: {reason}.") from None


def main() -> None:
    """Run a command; say in one line what is wrong with the environment or the input."""
    try:
        cli()
    except StartError as error:
        sys.exit(f"songbook: {error}")


if __name__ == "__main__":
    main()
