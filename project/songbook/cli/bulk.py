"""The commands that move many rows: `import` and `export`."""

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Annotated, Literal

import typer

from songbook.bulk import OnConflict, OnError
from songbook.cli import export_files, import_files
from songbook.cli.progress import progress_bar
from songbook.cli.service import Service
from songbook.config import Settings
from songbook.db import check_database, located
from songbook.errors import ImportReport
from songbook.http import CSV, ENDINGS, NDJSON

_BY_NAME = {ending: media_type for media_type, ending in ENDINGS.items()}
_BY_SUFFIX = {".ndjson": NDJSON, ".jsonl": NDJSON}

Resource = Annotated[str, typer.Argument(help="The resource that the rows are of.")]
ImportFile = Annotated[Path, typer.Argument(help="CSV with a line of names, or NDJSON.")]
ExportFile = Annotated[Path | None, typer.Argument(help="Left out: standard output.")]
Ignore = Annotated[list[str] | None, typer.Option(help="A column to leave out.")]
OnErrorOption = Annotated[OnError, typer.Option(help="`skip` stores the rows that fit.")]
OnConflictOption = Annotated[
    OnConflict, typer.Option(help="What becomes of a row whose key is there already.")
]
DryRun = Annotated[bool, typer.Option(help="Do everything and take it back.")]
QueryString = Annotated[str, typer.Option(help="Which rows: year_gte=1990&sort=-year")]
Format = Annotated[
    Literal["csv", "ndjson"] | None,
    typer.Option("--format", help="Left out: NDJSON of a file called so, else CSV."),
]


@dataclass(frozen=True)
class BulkCommands:
    """The commands that move many rows."""

    service: Service

    def import_rows(
        self,
        resource: Resource,
        file: ImportFile,
        ignore: Ignore = None,
        on_error: OnErrorOption = "abort",
        on_conflict: OnConflictOption = "abort",
        written: Format = None,
        *,
        dry_run: DryRun = False,
    ) -> None:
        """Store the rows of a CSV or NDJSON file: all of them, in one transaction, or none."""
        classes = self.service.family(resource)
        source = import_files.Source(
            file,
            classes.table,
            classes.create,
            format_of(file, written),
            ignore=tuple(ignore or ()),
            skips_errors=on_error == "skip",
            on_conflict=on_conflict,
            dry_run=dry_run,
        )
        begun = monotonic()
        report = _stored(source, self.service.settings.load())
        others = {"skipped": report.skipped, "refused": report.refused}
        left = "".join(f", {number} {what}" for what, number in others.items() if number)
        done = "would be stored" if dry_run else "stored"
        print(f"{report.stored} {resource} {done} in {monotonic() - begun:.1f} s{left}.")

    def export_rows(
        self,
        resource: Resource,
        file: ExportFile = None,
        query: QueryString = "",
        written: Format = None,
    ) -> None:
        """Write the rows of a resource as CSV or NDJSON, to a file or to standard output."""
        classes = self.service.family(resource)
        rows = export_files.Rows(classes.table, classes.public, format_of(file, written), query)
        settings, begun = self.service.settings.load(), monotonic()
        with located(settings) as url:
            check_database(url)
            with progress_bar() as progress:
                task = progress.add_task(f"Exporting {resource}", total=None)

                def advance(number: int, total: int | None) -> None:
                    progress.update(task, completed=number, total=total)

                told = None if progress.disable else advance
                number = export_files.export_file(url, rows, file, settings, told)
        done = f"{number} {resource} exported in {monotonic() - begun:.1f} s."
        print(done, file=sys.stdout if file else sys.stderr)


def _stored(source: import_files.Source, settings: Settings) -> ImportReport:
    """Store the rows of a file; return the report, and print why rows were refused."""
    with source.opened() as rows, located(settings) as url, progress_bar() as progress:
        check_database(url)
        size = source.path.stat().st_size or None
        task = progress.add_task(f"Importing {source.path.name}", total=size)
        try:
            report = source.store(url, rows, settings, partial(progress.advance, task))
        except import_files.Refused as error:
            _list(error.report)
            raise
    _list(report)
    return report


def _list(report: ImportReport) -> None:
    """Print why rows were refused, on standard error."""
    for each in report.refusals:
        field = f"{each.pointer.removeprefix('/')}: " if each.pointer else ""
        print(f"line {each.line}: {field}{each.detail}", file=sys.stderr)
    if more := report.refused - len({each.line for each in report.refusals}):
        print(f"and {more} more", file=sys.stderr)


def format_of(file: Path | None, name: str | None) -> str:
    """Return the media type of a file, by the name of a format or else by what it is called."""
    if name is not None:
        return _BY_NAME[name]
    return _BY_SUFFIX.get(file.suffix.lower(), CSV) if file else CSV
