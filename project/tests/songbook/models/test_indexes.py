"""Indexes: those that `index=True` makes end in the id, so that they serve orders, too."""

from sqlalchemy import Index
from sqlalchemy.orm import registry
from sqlalchemy.schema import CreateIndex
from sqlmodel import Field, SQLModel

from songbook.db.statements import DIALECT
from songbook.models.bases import Record, Schema, SoftDelete
from songbook.models.tables import table_of


class Apart(SQLModel, registry=registry()):
    """Keeps the tables of this file out of the service's own."""


class ReadingBase(Schema):
    """A reference, whose index finds deleted rows, too: PostgreSQL looks for all of them."""

    before_id: int | None = Field(default=None, foreign_key="reading.id")


class Reading(ReadingBase, SoftDelete, Record, Apart, table=True):
    """A table with an index of each kind."""

    __table_args__ = (
        Index("ix_wind_by_hand", "wind"),
        Index("ix_place", "place", "id"),
        Index("ix_rain_and_wind", "rain", "wind"),
    )

    rain: int = Field(index=True)
    wind: int = Field(index=True)
    place: int
    number: int = Field(index=True, unique=True)
    a_name_that_is_as_long_as_one_may_be_in_a_table_of_postgresql: int = Field(index=True)


def test_an_index_of_a_field_ends_in_the_id_under_the_same_name() -> None:
    indexes = table_of(Reading).indexes
    made = {str(CreateIndex(index).compile(dialect=DIALECT)) for index in indexes}

    long = "a_name_that_is_as_long_as_one_may_be_in_a_table_of_postgresql"
    shortened = "ix_reading_a_name_that_is_as_long_as_one_may_be_in_a_ta_38dd"
    deleted = "(deleted_at, id) WHERE deleted_at IS NOT NULL"
    assert made == {
        "CREATE INDEX ix_reading_rain ON reading (rain, id) WHERE deleted_at IS NULL",
        "CREATE INDEX ix_reading_wind ON reading (wind, id) WHERE deleted_at IS NULL",
        "CREATE INDEX ix_wind_by_hand ON reading (wind) WHERE deleted_at IS NULL",
        "CREATE INDEX ix_place ON reading (place, id) WHERE deleted_at IS NULL",
        "CREATE INDEX ix_rain_and_wind ON reading (rain, wind) WHERE deleted_at IS NULL",
        "CREATE UNIQUE INDEX ix_reading_number ON reading (number) WHERE deleted_at IS NULL",
        "CREATE INDEX ix_reading_before_id ON reading (before_id, id)",
        f"CREATE INDEX {shortened} ON reading ({long}, id) WHERE deleted_at IS NULL",
        f"CREATE INDEX ix_reading_deleted_at ON reading {deleted}",
    }
