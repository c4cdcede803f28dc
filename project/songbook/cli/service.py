"""The service of a command line, and helpers that several commands share."""

import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.progress import Progress
from starlette.routing import BaseRoute

from songbook.config import CommandError, Settings
from songbook.http import CSV, NDJSON
from songbook.models import Family, Representation, display_name, family, representation

Resource = Annotated[str, typer.Argument(help="The name of the resource.")]
Format = Annotated[
    Literal["csv", "ndjson"] | None,
    typer.Option(help="Default: NDJSON for .ndjson and .jsonl files, else CSV."),
]


@dataclass(frozen=True)
class Service:
    """The service of a command line."""

    settings: type[Settings]
    resources: Callable[[], Mapping[str, ModuleType]]
    """Return the resource modules by name."""
    application: str
    """The import string of the application, as `app.main:app`."""
    title: str
    program: str
    """How the command line is called, as `python -m app`."""
    examples: Path | None = None
    """The folder of the example data, None if there are none."""

    def message(self, text: object) -> str:
        """Return a message with the name of the service in front."""
        return f"{self.title.lower()}: {text}"

    def family(self, resource: str) -> Family:
        """Return the classes of a resource. Raises CommandError if the name is unknown."""
        return family(self._module(resource))

    def representation(self, resource: str) -> Representation:
        """Return how a resource is shown. Raises CommandError if the name is unknown."""
        return representation(self._module(resource))

    def routes(self) -> list[BaseRoute]:
        """Return the routes of the resources."""
        return [route for module in self.resources().values() for route in module.router.routes]

    def _module(self, resource: str) -> ModuleType:
        modules = self.resources()
        if resource not in modules:
            raise CommandError(f"unknown resource {resource}: choose from {', '.join(modules)}.")
        return modules[resource]

    def amount(self, rows: int, resource: str) -> str:
        """Return a number of rows with the noun, as "1 city" and "2 cities"."""
        noun = display_name(self.family(resource).table).lower() if rows == 1 else resource
        return f"{rows} {noun}"


def exit_on_signals() -> None:
    """Run the exit handlers, which stop the embedded PostgreSQL, at SIGTERM and SIGHUP."""
    for ending in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(ending) != signal.SIG_IGN:  # as with nohup
            signal.signal(ending, lambda number, _frame: sys.exit(128 + number))


def media_type_of(file: Path | None, name: str | None) -> str:
    """Return the media type by the name of a format, or else by the suffix of a file."""
    if name is None and file and file.suffix.lower() in {".ndjson", ".jsonl"}:
        name = "ndjson"
    return NDJSON if name == "ndjson" else CSV


def progress_bar() -> Progress:
    """Return a progress bar on standard error, only in a terminal and removed at the end."""
    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=not console.is_terminal)
