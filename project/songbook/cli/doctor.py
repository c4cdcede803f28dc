"""The command that checks the service, its database and its disk."""

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text
from sqlmodel import SQLModel

from songbook.cli.service import Service
from songbook.doctor import FAILURE, OK, WARNING, Finding, Subject, diagnose
from songbook.lists import lists_in

AsJson = Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")]
Strict = Annotated[bool, typer.Option(help="Exit with 1 for warnings, too.")]

_COLUMNS = ("group", "level", "message")
_STYLES = {OK: "green", WARNING: "yellow", FAILURE: "bold red"}


class DoctorCommand(Service):
    """The command `doctor`."""

    def doctor(self, *, as_json: AsJson = False, strict: Strict = False) -> None:
        """Check settings, database and disk, and say what to do; exit with 1 for a failure."""
        settings = self.settings.load()
        routes = self.routes()  # first, as it imports the models
        report = diagnose(Subject(settings, SQLModel.metadata, lists_in(routes, settings)))
        if as_json:
            rows = [(name, *each) for name, found in report.items() for each in found]
            print(json.dumps([dict(zip(_COLUMNS, row, strict=True)) for row in rows], indent=2))
        else:
            _show(report)
        levels = {each.level for found in report.values() for each in found}
        if FAILURE in levels or (strict and WARNING in levels):
            raise typer.Exit(1)


def _show(report: dict[str, list[Finding]]) -> None:
    """Print a line for each finding, and how many there are of each level."""
    console = Console(highlight=False)
    for name, found in report.items():
        console.print(Text(name, "bold"))
        for level, message in found:
            console.print(
                Text.assemble("  ", (f"{level:8}", _STYLES[level]), message), soft_wrap=True
            )
    levels = [each.level for found in report.values() for each in found]
    ok, warnings, failures = map(levels.count, (OK, WARNING, FAILURE))
    console.print(f"{ok} ok, {_number(warnings, WARNING)}, {_number(failures, FAILURE)}.")


def _number(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
