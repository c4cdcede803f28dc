"""The tables of the sample, apart from those of any service whose classes are imported as well."""

from typing import ClassVar

from sqlalchemy import Connection, MetaData, text
from sqlmodel import SQLModel

from songbook.models import Record


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


def create_tables(connection: Connection) -> None:
    """Create the tables of the sample and those of the library, and the trigger of accounts."""
    library = [SQLModel.metadata.tables[name] for name in ("idempotency", "login_tries")]
    SQLModel.metadata.create_all(connection, tables=library)
    Stored.metadata.create_all(connection)
    connection.execute(text(CREDENTIALS))
    connection.execute(text(ON_CREDENTIALS))
