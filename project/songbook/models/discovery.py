"""The resources of a service: every module of a package that has a `router` is one."""

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import NamedTuple

from sqlmodel import SQLModel

from songbook.models.bases import Record

_ROLES = ("Create", "Update", "Public")


class Family(NamedTuple):
    """The classes of a resource."""

    table: type[Record]
    create: type[SQLModel]
    update: type[SQLModel]
    public: type[SQLModel]


@cache
def discover(package: str) -> dict[str, ModuleType]:
    """Return the resource modules by name; importing them tells SQLModel of their tables."""
    names = sorted(found.name for found in iter_modules(import_module(package).__path__))
    loaded = {name: import_module(f"{package}.{name}") for name in names}
    return {name: module for name, module in loaded.items() if hasattr(module, "router")}


def family(module: ModuleType) -> Family:
    """Return the classes of a resource: the table that its module defines, those named after it.

    What the module imports from other resources is not its own. Raises TypeError for a module that
    does not define exactly one table with a Create, an Update and a Public class.
    """
    tables = [
        found
        for found in vars(module).values()
        if isinstance(found, type)
        and issubclass(found, Record)
        and hasattr(found, "__table__")
        and found.__module__ == module.__name__
    ]
    families = [
        Family(table, *(getattr(module, table.__name__ + role) for role in _ROLES))
        for table in tables
        if all(hasattr(module, table.__name__ + role) for role in _ROLES)
    ]
    if len(families) != 1:
        names = ", ".join(table.__name__ for table in tables) or "none"
        raise TypeError(
            f"{module.__name__} has to define one table with a Create, an Update and a Public"
            f" class; its tables: {names}"
        )
    return families[0]
