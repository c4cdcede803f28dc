"""The column of a field, and the filter of its items."""

from typing import Any

import pytest
from sqlalchemy import String
from sqlmodel import Field

from songbook.crud.records import Records
from songbook.db.database import Database
from songbook.models.bases import Partial, Record, RecordPublic, Schema
from songbook.models.fields import Email, Url
from songbook.models.tables import table_of
from tests.support.lists import page_statement_of
from tests.support.samples import Apart


class LabelledBase(Schema):
    """Types that are annotations themselves, optional or not, and a list."""

    page: Url
    other_page: Url | None = None
    email: Email | None = Field(default=None, unique=True)
    labels: list[str] | None = None


class Labelled(LabelledBase, Record, Apart, table=True):
    """The table."""


class LabelledPublic(LabelledBase, RecordPublic):
    """The representation in responses."""


@pytest.mark.parametrize(("name", "length"), [("page", 2000), ("other_page", 2000), ("email", 254)])
def test_a_column_has_the_length_of_its_type_also_if_it_is_nullable(name: str, length: int) -> None:
    assert str(table_of(Labelled).c[name].type) == f"VARCHAR({length})"


def test_an_option_that_the_annotation_decides_is_refused_also_with_a_nullable_url() -> None:
    with pytest.raises(TypeError, match=r"SiteBase\.page: leave out sa_type"):

        class SiteBase(Schema):
            page: Url | None = Field(sa_type=String)


def test_a_patch_leaves_out_a_list_whose_default_is_made() -> None:
    class ShelfBase(Schema):
        labels: list[str] = Field(default_factory=list)

    class ShelfUpdate(ShelfBase, Partial):
        pass

    assert ShelfUpdate.model_validate({}).model_dump(exclude_unset=True) == {}


@pytest.mark.parametrize(
    ("query", "found"),
    [("labels_has=live", 2), ("labels_has=post-rock", 1), ("labels_has=Live", 0)],
)
async def test_a_list_is_filtered_by_one_of_its_items(
    sample_database: Database, query: str, found: int
) -> None:
    rows: list[dict[str, Any]] = [
        {"page": "https://a.example", "labels": ["live", "post-rock"]},
        {"page": "https://a.example", "labels": ["live"]},
        {"page": "https://a.example", "labels": []},
        {"page": "https://a.example", "labels": None},
    ]
    for row in rows:
        await sample_database.fetch(Records(Labelled, LabelledPublic).insert(row))

    page = await sample_database.fetch(page_statement_of(Labelled, LabelledPublic, query))

    assert page
    assert page["number"] == found
