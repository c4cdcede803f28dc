"""The resources of the service as their classes describe them."""

import itertools
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from httpx import AsyncClient, Response
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from app import resources
from songbook.models.discovery import family
from songbook.models.field_types import DecimalType, FieldType, TextType
from songbook.models.fields import field_type_of, is_nullable
from tests.support.clients import PRINCIPAL
from tests.support.leaks import PASSWORD
from tests.support.values import numbered, shown


class Field(NamedTuple):
    """A field of a body."""

    type: FieldType
    is_nullable: bool
    is_secret: bool

    @classmethod
    def of(cls, info: FieldInfo) -> "Field":
        """Return the field that a class describes."""
        found, is_secret = field_type_of(info.annotation), info.annotation is SecretStr
        assert found or is_secret, info
        password = TextType(min_length=8, max_length=128)
        return cls(found or password, is_nullable(info.annotation), is_secret)


class Resource:
    """A resource as its classes describe it, and bodies that fit it, each unlike all others."""

    def __init__(self, name: str, module: ModuleType) -> None:
        self.name = name
        self.path: str = module.router.prefix
        self.table, self.create, self.update, self.public = family(module)
        fields = self.create.model_fields.items()
        self.required = [name for name, info in fields if info.is_required()]
        self.fields = {name: Field.of(info) for name, info in fields}
        self.defaults = {
            name: default(self.fields[name].type, info)
            for name, info in fields
            if name in self.public.model_fields and not info.is_required()
            if info.default_factory is None
        }
        permissions = {route.permission.name for route in module.router.routes}
        self.is_protected = permissions != {"open"}
        self._numbers = itertools.count(1)

    def body(self, **given: Any) -> dict[str, Any]:
        """Return a body with every field."""
        return {name: self.value(name) for name in self.fields} | given

    def value(self, name: str) -> Any:
        """Return a value of a field, as JSON has it."""
        field, number = self.fields[name], next(self._numbers)
        if field.is_secret:
            return f"{PASSWORD}{number}"
        return shown(numbered(field.type, name, number))

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


def default(type_: FieldType, info: FieldInfo) -> Any:
    """Return the default of a field, as JSON has it."""
    if isinstance(type_, DecimalType) and info.default is not None:
        return f"{info.default:.{type_.decimal_places}f}"
    return shown(info.default)


RESOURCES = [Resource(name, module) for name, module in resources.modules().items()]


@pytest.fixture(params=RESOURCES, ids=lambda resource: resource.name)
def resource(request: pytest.FixtureRequest) -> Resource:
    """Give each resource in turn."""
    found: Resource = request.param
    return found


def fields_of(is_one: Callable[[Field], bool]) -> list[Any]:
    """Return the fields for which this is true, each with its resource, but no secrets."""
    return [
        pytest.param(resource, name, id=f"{resource.name}.{name}")
        for resource in RESOURCES
        for name, field in resource.fields.items()
        if name in resource.public.model_fields and is_one(field)
    ]


TEXTS = fields_of(lambda field: isinstance(field.type, TextType) and field.type.pattern is None)
