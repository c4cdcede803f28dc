"""The resources of the service: every module here that has a `router` is one."""

from functools import partial

from songbook.models.discovery import Family, discover, family

__all__ = ["Family", "family", "modules"]

modules = partial(discover, __name__)
"""Return the resource modules by name; importing them tells SQLModel of their tables."""
