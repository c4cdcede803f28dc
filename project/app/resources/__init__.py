"""The resources of the service: every module here with a `router`."""

from functools import partial

from fastapi import APIRouter

from songbook.models import discover

modules = partial(discover, __name__)
"""Return the resource modules by name; importing them registers their tables."""


def routers() -> list[APIRouter]:
    """Return the routers of the resources."""
    return [module.router for module in modules().values()]
