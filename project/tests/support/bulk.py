"""The resources that take many rows in one body."""

import pytest

from app import resources
from songbook.http.routing import Route
from tests.support.resources import RESOURCES, TEXTS, Resource


def takes_many(resource: Resource) -> bool:
    routes = resources.modules()[resource.name].router.routes
    return any(isinstance(route, Route) and route.bulk for route in routes)


IMPORTABLE = [each for each in RESOURCES if takes_many(each)]


each_importable = pytest.mark.parametrize("resource", IMPORTABLE, ids=lambda each: each.name)
"""The decorator of a test of each resource that takes many rows in one body."""

IMPORTABLE_TEXTS = [
    each for each in TEXTS if isinstance(each.values[0], Resource) and takes_many(each.values[0])
]
