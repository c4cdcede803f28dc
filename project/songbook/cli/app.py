"""The commands that every service has."""

import json
import logging
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from socket import socket
from types import ModuleType
from typing import Annotated, Any

import typer
from fastapi import FastAPI
from sqlalchemy.engine import URL

from songbook.cli.doctor import DoctorCommand
from songbook.cli.exports import ExportCommand
from songbook.cli.maintenance import MaintenanceCommands
from songbook.cli.migrations import MigrateCommand, upgrade
from songbook.cli.psql import OPTIONS, PsqlCommand
from songbook.cli.seed import SeedCommand
from songbook.cli.service import Service, exit_on_signals
from songbook.config import CommandError, Settings, check_production, setting_lines
from songbook.db import DatabaseUnreachable, check_database, resolve_database, watch_database
from songbook.logs import configure_logging
from songbook.server import check_address, inherited_sockets, serve

_logger = logging.getLogger(__name__)

_ANY_OR_LOCAL = {"0.0.0.0", "::", "127.0.0.1"}  # noqa: S104

Host = Annotated[str | None, typer.Option(help="The address to listen on [HOST].")]
Port = Annotated[int | None, typer.Option(help="The port to listen on [PORT].")]
Workers = Annotated[int | None, typer.Option(help="The number of worker processes [WORKERS].")]
Migrate = Annotated[
    bool | None, typer.Option(help="Migrate first (default: only the embedded PostgreSQL).")
]
Reload = Annotated[bool, typer.Option(help="Reload when the code changes, and log requests.")]


class CommandLine(typer.Typer):
    """A command line that prints a CommandError as one line and exits with status 1."""

    def __init__(self, service: Service, **options: Any) -> None:
        super().__init__(**options)
        self.service = service

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Run the command in `sys.argv`."""
        try:
            return super().__call__(*arguments, **options)
        except CommandError as error:
            sys.exit(self.service.message(error))


def create_cli(
    settings: type[Settings],
    resources: Callable[[], Mapping[str, ModuleType]],
    *,
    application: str,
    title: str,
    help: str,
    examples: Path | None = None,
) -> CommandLine:
    """Return the command line of a service, which may add its own commands.

    `application` is the import string of the application, as `app.main:app`; `examples` the folder
    of the example data that `seed` stores, in files called after their resources, as `songs.csv`.
    """
    module = application.partition(":")[0]
    program = f"python -m {module.rpartition('.')[0] or module}"
    commands = Commands(settings, resources, application, title, program, examples)
    cli = CommandLine(
        commands,
        name=program,
        help=help,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )
    _add_commands(cli, commands, has_examples=examples is not None)
    return cli


def _add_commands(cli: typer.Typer, commands: "Commands", *, has_examples: bool) -> None:
    for command in (commands.serve, commands.migrate, commands.doctor):
        cli.command()(command)
    cli.command("import")(commands.import_rows)
    cli.command("export")(commands.export_rows)
    if has_examples:
        cli.command()(commands.seed)
    cli.command()(commands.purge)
    cli.command()(commands.expire_keys)
    for client in (commands.psql, commands.dump):
        cli.command(**OPTIONS)(client)
    cli.command("settings")(commands.list_settings)
    cli.command("openapi")(commands.print_openapi)


class Commands(
    SeedCommand, ExportCommand, MaintenanceCommands, MigrateCommand, DoctorCommand, PsqlCommand
):
    """All commands."""

    def serve(
        self,
        host: Host = None,
        port: Port = None,
        workers: Workers = None,
        migrate: Migrate = None,
        *,
        reload: Reload = False,
    ) -> None:
        """Serve HTTP until Ctrl-C or SIGTERM."""
        if reload and workers is not None:
            raise CommandError("--reload serves in one process: leave out --workers.")
        settings = self._settings(host=host, port=port, workers=workers)
        configure_logging(settings.log_level, settings.log_format)
        sockets = [] if reload else inherited_sockets()
        host, port = _address(settings, sockets)
        exit_on_signals()  # uvicorn, with one process, raises the signal again at its end
        with resolve_database(settings) as url:
            is_up = _prepare(settings, url, migrate)
            self._announce(settings, host, port)
            if is_up:
                self.offer_examples(settings, url)
            with watch_database(settings):
                serve(self.application, settings, port, sockets=sockets, reload=reload)

    def _settings(self, **options: Any) -> Settings:
        set_options = {name: value for name, value in options.items() if value is not None}
        settings = self.settings.load(**set_options)
        check_production(settings)
        return settings

    def _announce(self, settings: Settings, host: str, port: int) -> None:
        name = f"[{host}]" if ":" in host else "localhost" if host in _ANY_OR_LOCAL else host
        address = f"http://{name}:{port}"
        docs = f", its documentation at {address}/docs" if settings.public_docs else ""
        print(f"{self.title} is at {address}{docs}. Ctrl-C stops it.")
        sys.stdout.flush()

    def list_settings(self) -> None:
        """Print every setting with its origin; secrets are masked."""
        print("\n".join(setting_lines(self.settings.load())))

    def print_openapi(self) -> None:
        """Print the OpenAPI document."""
        module, _, name = self.application.partition(":")
        app: FastAPI = getattr(import_module(module), name)
        print(json.dumps(app.openapi(), indent=2))


def _address(settings: Settings, sockets: list[socket]) -> tuple[str, int]:
    """Return where to listen. Raises CommandError if that cannot be, also for the metrics."""
    if settings.metrics_port is not None:
        check_address(settings.host, settings.metrics_port, "METRICS_PORT")
    if sockets:
        host, port = sockets[0].getsockname()[:2]
        return host, port
    return settings.host, check_address(settings.host, settings.port)


def _prepare(settings: Settings, url: URL, migrate: bool | None) -> bool:  # noqa: FBT001
    """Migrate the database if that is to be done; return whether it is up.

    Raises DatabaseUnreachable only if migrations were asked for.
    """
    try:
        check_database(url)
        if migrate or (migrate is None and settings.url is None):
            upgrade(settings)
    except DatabaseUnreachable as error:
        if migrate:
            raise
        _logger.warning("%s Until then requests get 503.", error)
        return False
    return True
