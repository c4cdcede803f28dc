"""The resources of a service: the modules of a package that have a `router`."""

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any, NamedTuple, TypeGuard

from sqlmodel import SQLModel

from songbook.models.bases import Record
from songbook.models.owners import tie_owners
from songbook.models.representations import Representation

_ROLES = ("Create", "Update", "Public")


class Family(NamedTuple):
    """The classes of a resource."""

    table: type[Record]
    create: type[SQLModel]
    update: type[SQLModel]
    public: type[SQLModel]


@cache
def discover(package: str) -> dict[str, ModuleType]:
    """Import the modules of a package; return those of resources by name.

    Raises TypeError for an `Owned` table in a service without accounts.
    """
    names = sorted(each.name for each in iter_modules(import_module(package).__path__))
    loaded = {name: import_module(f"{package}.{name}") for name in names}
    tie_owners(
        each for module in loaded.values() for each in vars(module).values() if _is_table(each)
    )
    return {name: module for name, module in loaded.items() if hasattr(module, "router")}


def representation(module: ModuleType) -> Representation:
    """Return how the lists of a resource show its records. Raises TypeError as `family` does."""
    classes = family(module)
    declared = [each for each in vars(module).values() if isinstance(each, Representation)]
    own = [each for each in declared if each.table is classes.table]
    return own[0] if own else Representation(classes.table, classes.public)


def family(module: ModuleType) -> Family:
    """Return the classes of a resource: the table of its module, and those named after it.

    Raises TypeError for a module without exactly one such family of its own.
    """
    tables = [
        each
        for each in vars(module).values()
        if _is_table(each) and each.__module__ == module.__name__
    ]
    families = [
        Family(table, *(getattr(module, table.__name__ + role) for role in _ROLES))
        for table in tables
        if all(hasattr(module, table.__name__ + role) for role in _ROLES)
    ]
    if len(families) != 1:
        names = ", ".join(table.__name__ for table in tables) or "none"
        raise TypeError(
            f"{module.__name__} must define one table with a Create, an Update and a Public"
            f" class; its tables: {names}"
        )
    return families[0]


def _is_table(value: Any) -> TypeGuard[type[Record]]:
    return isinstance(value, type) and issubclass(value, Record) and hasattr(value, "__table__")
