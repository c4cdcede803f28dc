"""The trigger that increments the version of a row that an UPDATE changes without doing so."""

from typing import Any, cast

from sqlalchemy import DDL, Table, event
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapper

from songbook.models.bases import Record, Timestamps

NEXT_VERSION = "next_version()"
"""The signature of the function that the triggers call."""

NEXT_VERSION_BODY = (
    "BEGIN IF current_setting('songbook.rehash', true) = 'on' THEN RETURN NEW; END IF;"
    " NEW.version := OLD.version + 1;"
    " IF TG_NARGS > 0 THEN NEW.updated_at := clock_timestamp(); END IF;"
    " RETURN NEW; END"
)
"""A better hash of the same password, which a login stores, is no change to clients."""

VERSION_TRIGGERS: dict[Table, str] = {}
"""The CREATE TRIGGER of each table of a Record, as PostgreSQL itself spells it."""

_PREPARER = postgresql.dialect().identifier_preparer  # type: ignore[no-untyped-call]


def create_next_version(body: str = NEXT_VERSION_BODY) -> str:
    """Return the CREATE OR REPLACE of the function."""
    language = "RETURNS trigger LANGUAGE plpgsql"
    return f"CREATE OR REPLACE FUNCTION {NEXT_VERSION} {language} AS $${body}$$"


@event.listens_for(Mapper, "after_mapper_constructed")
def _add_trigger(mapper: Mapper[Any], model: type[Any]) -> None:
    """Add the trigger, which `create_all` creates with its function; migrations contain both.

    Statements of the service set the version themselves: for them the trigger only compares.
    """
    if not issubclass(model, Record):
        return
    table = cast("Table", mapper.local_table)
    argument = "'updated_at'" if Timestamps in model.__mro__ else ""
    trigger = (
        f"CREATE TRIGGER next_version BEFORE UPDATE ON {_PREPARER.quote(table.name)} FOR EACH ROW"
        f" WHEN (old.version = new.version) EXECUTE FUNCTION next_version({argument})"
    )
    VERSION_TRIGGERS[table] = trigger
    for statement in (create_next_version(), trigger):
        event.listen(table, "after_create", DDL(statement.replace("%", "%%")))  # type: ignore[no-untyped-call]
