"""Every write of every resource, as its route describes it: what it needs, and how it is sent."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from fastapi import FastAPI
from httpx import AsyncClient, Response

from app import resources
from songbook.crud.transactions import write
from songbook.http.dependencies import KEYED_METHODS
from songbook.http.media_types import JSON
from songbook.http.routing import Route
from songbook.models.tables import table_of
from tests.support.clients import sign_in
from tests.support.reports import written
from tests.support.resources import RESOURCES, Resource

ROWS = 3
"""How many rows an import of these tests has."""


class Way(NamedTuple):
    """A way to write: a method of an address, and what its body is."""

    resource: Resource
    method: str
    path: str
    media_type: str | None
    takes_key: bool
    dependent: frozenset[str] = frozenset()
    """The fields that have to come with another."""

    @property
    def table(self) -> str:
        """Return the name of the table that it writes to."""
        return table_of(self.resource.table).name

    @property
    def is_bulk(self) -> bool:
        """Return whether it stores many rows."""
        return self.media_type not in {JSON, None}

    @property
    def creates(self) -> bool:
        """Return whether it stores what was not there."""
        return self.media_type is not None and self.method == "POST"

    def rows(self, number: int = ROWS) -> list[dict[str, Any]]:
        """Return bodies that fit, unlike all others."""
        return [self.resource.body() for _ in range(number)]

    def request(self, *rows: dict[str, Any], id: int = 1, query: str = "") -> "Sent":
        """Return a request that fits; of these rows, else of new ones."""
        url = self.path.replace("{id}", str(id)) + query
        if self.media_type is None:
            return Sent(self.method, url, b"", {})
        headers = {"Content-Type": self.media_type}
        if self.is_bulk:
            content = written([*rows] or self.rows(), self.media_type)
            return Sent(self.method, url, content, headers)
        body = rows[0] if rows else self.resource.body()
        if self.method == "PATCH":
            names = [*self.resource.required, *self.resource.fields]
            name = next(name for name in names if name not in self.dependent)
            body = {name: body[name]}
        return Sent(self.method, url, json.dumps(body).encode(), headers)

    async def prepare(self, client: AsyncClient) -> None:
        """Store the record 1 where there has to be one, deleted where it is to be restored."""
        if "{id}" in self.path:
            await self.resource.add(client)
        if self.path.endswith("/restore"):
            answer = await client.delete(f"{self.resource.path}/1")
            assert answer.status_code == 204


class Sent(NamedTuple):
    """A request that can be sent again."""

    method: str
    url: str
    content: bytes
    headers: dict[str, str]

    async def by(self, client: AsyncClient, key: str | None = None, **headers: str) -> Response:
        """Send it, under a key if there is one."""
        given = self.headers | headers | ({} if key is None else {"Idempotency-Key": key})
        content = self.content or None
        return await client.request(self.method, self.url, content=content, headers=given)

    def at(self, url: str) -> "Sent":
        """Return the same at another address."""
        return self._replace(url=url)


def _ways(resource: Resource, route: Route) -> Iterator[Way]:
    method = "".join(route.methods or ())  # which is one
    if write in route.request_dependencies.values():
        media_type = JSON if route.bodies else None
        schemas = [model.model_json_schema() for model in route.bodies.values()]
        dependent = {name for each in schemas for name in each.get("dependentRequired", {})}
        takes_key = method in KEYED_METHODS
        yield Way(resource, method, route.path, media_type, takes_key, frozenset(dependent))
    for media_type in route.bulk.media_types if route.bulk else ():
        yield Way(resource, method, route.path, media_type, takes_key=True)


WAYS = [
    way
    for resource in RESOURCES
    for route in resources.modules()[resource.name].router.routes
    for way in _ways(resource, route)
]
BULK = [way for way in WAYS if way.is_bulk]
SINGLE = [way for way in WAYS if not way.is_bulk]


def each(ways: list[Way]) -> pytest.MarkDecorator:
    """Return the decorator of a test of these ways in turn."""
    names = [f"{way.method} {way.path} {way.media_type or ''}".rstrip() for way in ways]
    return pytest.mark.parametrize("way", ways, ids=names)


@pytest.fixture
async def writer(app: FastAPI, client: AsyncClient, way: Way) -> AsyncClient:
    """Give a client that may go the way of a test; all tables are empty."""
    if way.resource.is_protected:
        client.headers["Authorization"] = await sign_in(app)
    return client
