"""The classes that are mapped to tables."""

from typing import Any

from sqlmodel.main import default_registry


def mapped_classes() -> list[type[Any]]:
    """Return the classes with `table=True` that have been imported."""
    return [mapper.class_ for mapper in default_registry.mappers]
