"""Strategies: all that a field, a body or a row of a resource may hold."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from hypothesis import strategies as st

from songbook.models.fields import field_type_of
from songbook.models.tables import table_of
from tests.support.resources import RESOURCES, Resource
from tests.support.texts import texts


def values(kinds: dict[str, dict[str, Any]], *, stripped: bool) -> st.SearchStrategy[Any]:
    """Return all that a field takes and that is stored as it is."""
    found: list[st.SearchStrategy[Any]] = []
    if "null" in kinds:
        found.append(st.none())
    if "boolean" in kinds:
        found.append(st.booleans())
    if "integer" in kinds:
        found.append(st.integers(kinds["integer"]["minimum"], kinds["integer"]["maximum"]))
    elif "string" in kinds and "boolean" not in kinds:
        found.append(texts(kinds["string"], stripped=stripped))
    return st.one_of(found)


def bodies(resource: Resource, *, stripped: bool) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {name: values(kinds, stripped=stripped) for name, kinds in resource.fields.items()}
    )


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
    texts = {
        as_indexed(resource, name, {name: value}): value
        for value in reversed(values)
        if isinstance(value, str)
    }
    return [value for value in values if not isinstance(value, str) or value in texts.values()]


def hashed(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields as a table has them: of a password only a hash, which is none here."""
    secret = {"hashed_password": "none"} if "password" in fields else {}
    return {name: value for name, value in fields.items() if name != "password"} | secret


# A test is run for one resource at a time, and takes that one's bodies or rows.
A_BODY = st.fixed_dictionaries({each.name: bodies(each, stripped=True) for each in RESOURCES})


ROWS = st.fixed_dictionaries({each.name: rows(each) for each in RESOURCES})
