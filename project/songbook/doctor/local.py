"""Checks of the settings, the revisions and the disk, which need no database."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from songbook.config import production_problems
from songbook.db import read_revisions
from songbook.doctor.findings import Finding, Subject, failure, ok, or_ok, some, warning

_MIN_POOL = 4
"""Connections below which lists and writes can take all of them from single rows."""

_GIB = 2**30
_MIN_BYTES = 100 * 2**20


def check_settings(subject: Subject) -> list[Finding]:
    """Check the settings: what production does not allow, the pool, the embedded database."""
    return or_ok(_unsafe_settings(subject), "The settings are safe for production.")


def _unsafe_settings(subject: Subject) -> Iterator[Finding]:
    settings = subject.settings
    for problem in production_problems(settings):
        yield failure(problem) if subject.is_production else warning(problem)
    if settings.pool_size < _MIN_POOL:
        yield warning(
            f"POOL_SIZE={settings.pool_size} lets slow lists and writes keep all connections from"
            f" requests for single records: make it {_MIN_POOL} or more."
        )
    if settings.url is None and (subject.is_production or settings.workers > 1):
        kind = "production" if subject.is_production else f"WORKERS={settings.workers}"
        yield warning(
            f"The embedded PostgreSQL is for development, not for {kind}: set DATABASE_URL."
        )


def check_scripts(subject: Subject) -> Iterator[Finding]:
    """Check that the revisions have a single head."""
    heads = read_revisions(subject.settings.directory).heads
    if len(heads) > 1:
        yield failure(
            f"The revisions have {len(heads)} heads ({some(sorted(heads))}), so that `migrate`"
            " fails: join them with `alembic merge heads`."
        )
    elif heads:
        yield ok(f"The revisions have a single head, {min(heads)}.")
    else:
        yield warning("There are no revisions: `alembic.ini` is missing or names an empty folder.")


def check_disk(subject: Subject) -> Iterator[Finding]:
    """Check the free space where imports wait, and where the embedded database is."""
    settings = subject.settings
    try:
        temporary = Path(tempfile.gettempdir())
    except FileNotFoundError:
        yield failure("No temporary folder can be written, so imports get 507: set TMPDIR to one.")
    else:
        advice = "free some space, lower IMPORT_BYTES, or set TMPDIR to another folder"
        yield check_space(temporary, "an import", settings.import_bytes, advice)
    if settings.url is None:
        folder = settings.postgres_data.resolve()
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        advice = "free some space, or move the data and set POSTGRES_DATA"
        yield check_space(existing, "the embedded PostgreSQL", _GIB, advice)


def check_space(folder: Path, use: str, needed: int, advice: str) -> Finding:
    """Check that a folder has so many bytes free for a use."""
    free = shutil.disk_usage(folder).free
    text = f"{folder} has {_size(free)} free"
    if free >= needed:
        return ok(f"{text} for {use}.")
    level = failure if free < _MIN_BYTES else warning
    return level(f"{text}, too little for {use}: {advice}.")


def _size(number: float) -> str:
    return f"{number / _GIB:.1f} GiB" if number >= _GIB else f"{number / 2**20:.0f} MiB"
