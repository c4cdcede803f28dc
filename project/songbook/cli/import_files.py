"""Files of rows that are stored on the command line, as the service stores bodies."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import asyncpg
from sqlalchemy.engine import URL
from sqlmodel import SQLModel

from songbook.bulk import (
    FEEDS,
    PIECE,
    OnConflict,
    Spool,
    bulk_settings,
    kept,
    store,
    unstored,
)
from songbook.config import Settings, StartError
from songbook.db import opened_database
from songbook.errors import ImportReport, Problem, faults_of
from songbook.models import Record, natural_key, noun_of

Progress = Callable[[int], None]


class Source(NamedTuple):
    """A file with rows of a resource, and how they are to be stored."""

    path: Path
    table: type[Record]
    model: type[SQLModel]
    media_type: str
    ignore: tuple[str, ...] = ()
    skips_errors: bool = False
    on_conflict: OnConflict = "abort"
    dry_run: bool = False

    def _check(self) -> None:
        """Raise StartError if rows of this resource cannot be stored so."""
        noun = noun_of(self.table).lower()
        if other := unstored(self.table, self.model):
            why = f"{', '.join(other)} is not stored as it is sent"
            raise StartError(f"no {noun} can be imported, because {why}: POST them.")
        if self.on_conflict != "abort" and natural_key(self.table) is None:
            raise StartError(f"a {noun} has no key but its id: leave out --on-conflict.")

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """Open the file; raise StartError if it cannot be read, or its rows cannot be stored."""
        self._check()
        try:
            file = self.path.open("rb")
            file.peek(1)
        except OSError as error:
            raise StartError(f"{self.path} cannot be read: {error.strerror}.") from None
        with file:
            yield file

    def store(
        self, url: URL, file: BinaryIO, settings: Settings, progress: Progress
    ) -> ImportReport:
        """Store the rows; return the report, or raise StartError with nothing stored.

        `progress` is told now and then how many bytes more were read.
        """
        with _told(self):
            feed = FEEDS[self.media_type](self.model, self.ignore, settings.import_line)
            spool = Spool(feed, settings.import_bytes, keeps_good=self.skips_errors)
            with closing(spool):
                while piece := file.read(PIECE):
                    spool.take(piece)
                    progress(len(piece))
                spool.finish(b"")
                report = kept(spool)
                return (
                    asyncio.run(self._store(url, settings, spool)) if spool.tally.good else report
                )

    async def _store(self, url: URL, settings: Settings, spool: Spool) -> ImportReport:
        async with (
            opened_database(url, bulk_seconds=settings.bulk_seconds) as db,
            db.bulk(settings.pool_timeout) as driver,
        ):
            transaction = driver.transaction()
            await transaction.start()
            await driver.execute(bulk_settings(settings.bulk_seconds))
            report = await store(db, driver, self.table, spool, self.on_conflict)
            await (transaction.rollback() if self.dry_run else transaction.commit())
            return report


class Refused(StartError):
    """Rows do not fit, or one is there already; the report has the lines."""

    def __init__(self, sentence: str, report: ImportReport) -> None:
        super().__init__(sentence)
        self.report = report


@contextmanager
def _told(source: Source) -> Iterator[None]:
    """Say in one sentence what is wrong with a file, or with storing it."""
    try:
        yield
    except Problem as problem:
        if problem.report and problem.report.refusals:
            raise Refused(_sentence(source, problem), problem.report) from None
        faults = faults_of(problem.errors)
        sentence = f"{faults}. Leave columns out with --ignore." if faults else problem.detail
        raise StartError(f"{source.path}: {sentence}") from None
    except asyncpg.QueryCanceledError:
        raise StartError("nothing was stored: it was not done in time (BULK_SECONDS).") from None
    except asyncpg.PostgresError as error:
        reason = (error.detail or error.message).rstrip(".")
        raise StartError(f"nothing was stored: {reason}.") from None
    except (asyncpg.InterfaceError, OSError) as error:
        reason = f"the database did not answer in time ({error!r})"
        raise StartError(f"{reason}: look what is stored.") from None


def _sentence(source: Source, problem: Problem) -> str:
    report = problem.report
    assert report is not None
    if problem.status == 409:
        advice = " Add --on-conflict skip or update." if natural_key(source.table) else ""
        return f"{problem.detail}{advice}"
    advice = "" if source.skips_errors else ": mend them or add --on-error skip"
    return f"{report.refused} rows do not fit, nothing was stored{advice}."
