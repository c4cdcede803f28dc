"""The resources of the service: every module here that has a `router` is one."""

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType


@cache
def modules() -> dict[str, ModuleType]:
    """Return the resource modules by their names; importing them makes their tables known to SQLModel."""
    names = sorted(found.name for found in iter_modules(__path__))
    loaded = {name: import_module(f"{__name__}.{name}") for name in names}
    return {name: module for name, module in loaded.items() if hasattr(module, "router")}
