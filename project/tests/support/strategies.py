"""Strategies: all that a field, a body or a row of a resource may hold."""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from songbook.models.fields import field_type_of
from songbook.models.tables import table_of
from tests.support.resources import RESOURCES, Resource
from tests.support.values import shown, values


def bodies(resource: Resource, *, stripped: bool) -> st.SearchStrategy[dict[str, Any]]:
    """Return the fields of a record, as Python has them."""
    found = {
        name: parents(resource, name)
        if field.is_reference
        else values(field.type, stripped=stripped)
        for name, field in resource.fields.items()
    }
    nullable = {name for name, field in resource.fields.items() if field.is_nullable}
    return st.fixed_dictionaries(
        {name: st.none() | value if name in nullable else value for name, value in found.items()}
    )


def parents(resource: Resource, name: str) -> st.SearchStrategy[int | None]:
    """Return the ids of records that a field may refer to."""
    return st.integers(0, 2).map(lambda number: resource.parent(name, number))


def rows(resource: Resource) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Return rows that unique indexes let stand beside each other."""
    names = [name for name in resource.fields if is_unique(resource, name)]
    keys = tuple(partial(as_indexed, resource, name) for name in names)
    found = bodies(resource, stripped=False).map(hashed)
    return st.lists(found, max_size=6, unique_by=keys or None)


def is_unique(resource: Resource, name: str) -> bool:
    column = table_of(resource.table).c.get(name)
    return column is not None and bool(column.unique)


def as_indexed(resource: Resource, name: str, row: dict[str, Any]) -> Any:
    """Return a value as its unique index sees it."""
    type_ = field_type_of(resource.table.model_fields[name].annotation)
    return row[name].lower() if getattr(type_, "ignores_case", False) else row[name]


def without_repetition(resource: Resource, name: str, values: Sequence[Any]) -> list[Any]:
    """Return values without those that a unique index of the field takes for an earlier one."""
    if not is_unique(resource, name):
        return [*values]
    read = TypeAdapter(resource.create.model_fields[name].rebuild_annotation())
    found, seen = [], set()
    for value in values:
        key = None
        with suppress(ValidationError):
            key = as_indexed(resource, name, {name: read.validate_python(value)})
        if key is None or key not in seen:
            found.append(value)
            seen.add(key)
    return found


def hashed(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields as a table has them: of a password only a hash, which is none here."""
    secret = {"hashed_password": "none"} if "password" in fields else {}
    return {name: value for name, value in fields.items() if name != "password"} | secret


# A test is run for one resource at a time, and takes that one's bodies or rows.
A_BODY = st.fixed_dictionaries(
    {
        each.name: bodies(each, stripped=True).map(
            lambda body: {name: shown(value) for name, value in body.items()}
        )
        for each in RESOURCES
    }
)


ROWS = st.fixed_dictionaries({each.name: rows(each) for each in RESOURCES})
