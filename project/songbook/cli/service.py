"""The service that a command line is for, and what several commands share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.progress import Progress

from songbook.config import CommandError, Settings
from songbook.http import CSV, NDJSON
from songbook.models import Family, family

Resource = Annotated[str, typer.Argument(help="The resource that the rows are of.")]
Format = Annotated[
    Literal["csv", "ndjson"] | None,
    typer.Option(help="Left out: NDJSON of a file called so, else CSV."),
]


@dataclass(frozen=True)
class Service:
    """What the commands need to know of a service."""

    settings: type[Settings]

    resources: Callable[[], Mapping[str, ModuleType]]
    """Return the modules of its resources by their names."""

    application: str
    """Where its application is, as `app.main:app`."""

    title: str

    def message(self, text: object) -> str:
        """Return a line of standard error, which begins with the name of the service."""
        return f"{self.title.lower()}: {text}"

    def family(self, resource: str) -> Family:
        """Return the classes of a resource; raise CommandError if there is none of this name."""
        modules = self.resources()
        if resource not in modules:
            raise CommandError(f"there is no resource {resource}: there are {', '.join(modules)}.")
        return family(modules[resource])


def media_type_of(file: Path | None, name: str | None) -> str:
    """Return the media type of a file, by the name of a format or else by what it is called."""
    if name is None and file and file.suffix.lower() in {".ndjson", ".jsonl"}:
        name = "ndjson"
    return NDJSON if name == "ndjson" else CSV


def progress_bar() -> Progress:
    """Return a progress bar on standard error, gone when the work is done; none in a pipe."""
    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=not console.is_terminal)
