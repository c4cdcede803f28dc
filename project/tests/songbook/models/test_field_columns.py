"""The column of a field."""

import pytest
from sqlalchemy import String
from sqlmodel import Field

from songbook.models.bases import Partial, Record, Schema
from songbook.models.fields import Email, Url
from songbook.models.tables import table_of
from tests.support.samples import Apart


class LabelledBase(Schema):
    """Types that are annotations themselves, optional or not."""

    page: Url
    other_page: Url | None = None
    email: Email | None = Field(default=None, unique=True)


class Labelled(LabelledBase, Record, Apart, table=True):
    """The table."""


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
