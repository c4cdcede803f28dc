"""The resources of the service as their classes describe them."""

import itertools
import re
from types import ModuleType
from typing import Any

import pytest
from httpx import AsyncClient, Response

from app import resources
from songbook.models.discovery import family
from tests.support.clients import PRINCIPAL
from tests.support.leaks import PASSWORD
from tests.support.texts import FREE


class Resource:
    """A resource as its classes describe it, and bodies that fit it, each unlike all others."""

    def __init__(self, name: str, module: ModuleType) -> None:
        self.name = name
        self.path: str = module.router.prefix
        self.table, self.create, self.update, self.public = family(module)
        schema = self.create.model_json_schema()
        self.required: list[str] = schema["required"]
        self.fields = {name: kinds(field) for name, field in schema["properties"].items()}
        self.defaults = {
            name: field["default"]
            for name, field in schema["properties"].items()
            if name in self.public.model_fields and "default" in field
        }
        permissions = {route.permission.name for route in module.router.routes}
        self.is_protected = permissions != {"open"}
        self._numbers = itertools.count(1)

    def body(self, **given: Any) -> dict[str, Any]:
        """Return a body with every field."""
        return {name: self.value(name) for name in self.fields} | given

    def value(self, name: str) -> Any:
        """Return a value of a field; the types that are not here yet have to be added."""
        kind, number = self.fields[name], next(self._numbers)
        if kind.get("string", {}).get("format") == "password":
            return f"{PASSWORD}{number}"
        if "integer" in kind:
            low, high = kind["integer"]["minimum"], kind["integer"]["maximum"]
            return low + number % (high - low)
        if "boolean" in kind:
            return number % 2 == 0
        if "string" in kind:
            texts = (
                f"{name} {number}",
                f"{name}{number}",
                f"{name}-{number}",
                f"{name}{number}@x.org",
            )
            short = kind["string"].get("minLength", 0)
            fitting = (text.ljust(short, ".") for text in texts)
            return next(text for text in fitting if re.search(kind["string"]["pattern"], text))
        raise NotImplementedError(kind)

    def shown(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Return those of the fields that a client is shown; a password is not among them."""
        return {name: fields[name] for name in fields if name in self.public.model_fields}

    def told(self, answer: Response) -> dict[str, Any]:
        """Return what an answer tells of the fields that a client writes, and the id."""
        told: dict[str, Any] = answer.json()
        return {name: value for name, value in told.items() if name in {"id", *self.fields}}

    async def page(self, client: AsyncClient, path: str = "", **parameters: Any) -> Response:
        """Ask for a page of the list, oldest first, without the row of who asks."""
        asked = {"sort": "id", "id_lt": PRINCIPAL, **parameters}
        return await client.get(path or self.path, params=asked)

    def rows(self, page: Response) -> list[dict[str, Any]]:
        """Return the rows of a page, whichever form the resource gives it."""
        listed: Any = page.json()
        rows: list[dict[str, Any]] = listed["items"] if isinstance(listed, dict) else listed
        return rows

    async def add(self, client: AsyncClient, **given: Any) -> Response:
        """Store a record; return the answer."""
        answer = await client.post(self.path, json=self.body(**given))
        assert answer.status_code == 201, answer.text
        return answer


def kinds(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the schemas that a field allows by their types: integer, string, null."""
    return {kind["type"]: kind for kind in schema.get("anyOf", [schema])}


RESOURCES = [Resource(name, module) for name, module in resources.modules().items()]


@pytest.fixture(params=RESOURCES, ids=lambda resource: resource.name)
def resource(request: pytest.FixtureRequest) -> Resource:
    """Give each resource in turn."""
    found: Resource = request.param
    return found


TEXTS = [
    pytest.param(resource, name, id=f"{resource.name}.{name}")
    for resource in RESOURCES
    for name, kinds in resource.fields.items()
    if "integer" not in kinds and kinds.get("string", {}).get("pattern") == FREE
]
