"""The tables of the sample, apart from those of any service whose classes are imported as well."""

from collections.abc import Iterator
from typing import ClassVar

from sqlalchemy import Executable, MetaData
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlmodel import SQLModel

from songbook.models import (
    TRIGGER_FUNCTIONS,
    Record,
    create_function,
    create_search_text,
    triggers_of,
)


class Stored(Record):
    """What every table of the sample has: metadata that no service's migrations look at."""

    metadata: ClassVar[MetaData] = MetaData(naming_convention=SQLModel.metadata.naming_convention)


CREDENTIALS = """
CREATE FUNCTION members_credentials() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('songbook.rehash', true) IS DISTINCT FROM 'on' THEN
        NEW.credentials_changed_at := clock_timestamp();
    END IF;
    RETURN NEW;
END
$$
"""

ON_CREDENTIALS = """
CREATE TRIGGER members_credentials BEFORE UPDATE ON members FOR EACH ROW
WHEN (
    NEW.email <> OLD.email
    OR NEW.hashed_password <> OLD.hashed_password
    OR (OLD.is_active AND NOT NEW.is_active)
)
EXECUTE FUNCTION members_credentials()
"""


def statements() -> Iterator[Executable | str]:
    """Give what creates the tables of the sample and of the library, functions and triggers."""
    yield create_search_text()
    yield from map(create_function, TRIGGER_FUNCTIONS)
    library = [SQLModel.metadata.tables[name] for name in ("idempotency", "login_tries")]
    for table in (*library, *Stored.metadata.sorted_tables):
        yield CreateTable(table)
        yield from (CreateIndex(index) for index in table.indexes)
    for table in Stored.metadata.sorted_tables:
        yield from triggers_of(table).values()
    yield CREDENTIALS
    yield ON_CREDENTIALS
