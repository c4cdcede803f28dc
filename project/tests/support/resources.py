"""The resources of the service as their classes describe them."""

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from fastapi import FastAPI
from httpx import AsyncClient, Response
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from sqlalchemy import Table
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import SQLModel

from app import resources
from songbook.models.discovery import family
from songbook.models.field_types import DecimalType, FieldType, TextType
from songbook.models.fields import field_type_of, is_nullable
from songbook.models.owners import owner_columns
from songbook.models.tables import column_types, table_of
from tests.support.clients import PRINCIPAL
from tests.support.databases import empty
from tests.support.leaks import PASSWORD
from tests.support.services import SERVICE, Tested
from tests.support.values import numbered, shown


class Field(NamedTuple):
    """A field of a body."""

    type: FieldType
    is_nullable: bool
    is_secret: bool
    is_reference: bool

    @classmethod
    def of(cls, info: FieldInfo, *, is_reference: bool) -> "Field":
        """Return the field that a class describes."""
        found, is_secret = field_type_of(info.annotation), info.annotation is SecretStr
        password = TextType(min_length=8, max_length=128)
        return cls(found or password, is_nullable(info.annotation), is_secret, is_reference)


def is_nested(info: FieldInfo) -> bool:
    """Return whether a field of a body holds other records, and is no column."""
    return field_type_of(info.annotation) is None and info.annotation is not SecretStr


PARENTS = range(PRINCIPAL + 100, PRINCIPAL + 103)
"""The ids of the records that references are to, where nothing else is listed."""


class Resource:
    """A resource as its classes describe it, and bodies that fit it, each unlike all others."""

    def __init__(self, name: str, module: ModuleType) -> None:
        self.name = name
        self.path: str = module.router.prefix
        self.table, self.create, self.update, self.public = family(module)
        written = self.create.model_fields.items()
        fields = [(name, info) for name, info in written if not is_nested(info)]
        self.lacks = [*self._missing(module), *(name for name, info in written if is_nested(info))]
        """What keeps it from the tests of each resource: requests, or records within a body."""
        self.required = [name for name, info in fields if info.is_required()]
        columns = table_of(self.table).c
        self.parents = {
            name: key.column.table
            for name, _ in fields
            if name in columns
            for key in columns[name].foreign_keys
        }
        self.computed = {*self.public.model_fields} - {*columns.keys()}
        self.fields = {
            name: Field.of(info, is_reference=name in self.parents) for name, info in fields
        }
        self.defaults = {
            name: default(self.fields[name].type, info)
            for name, info in fields
            if name in self.public.model_fields and not info.is_required()
            if info.default_factory is None
        }
        permissions = {route.permission.name for route in module.router.routes}
        self.is_protected = permissions != {"open"}
        self._numbers = itertools.count(1)
        self._parents: dict[str, itertools.count[int]] = defaultdict(itertools.count)

    def _missing(self, module: ModuleType) -> Iterator[str]:
        """Yield the requests of songs.py that it does not answer as songs do."""
        routes = {
            (method, each.path): each for each in module.router.routes for method in each.methods
        }
        one = f"{self.path}/{{id}}"
        for asked in [("GET", self.path), ("GET", one), ("PATCH", one), ("DELETE", one)]:
            if asked not in routes:
                yield " ".join(asked)
        for asked in [("POST", self.path), ("PUT", one)]:
            if asked not in routes or self.create not in routes[asked].bodies.values():
                yield f"{' '.join(asked)} with {self.create.__name__}"

    def referred(self, *, owned: bool) -> list[Table]:
        """Return the tables that bodies refer to; if `owned`, also that of the owner of a row."""
        owners = owner_columns(table_of(self.table)) if owned else []
        return [
            *self.parents.values(),
            *(key.column.table for each in owners for key in each.foreign_keys),
        ]

    def body(self, **given: Any) -> dict[str, Any]:
        """Return a body with every field."""
        return {name: self.value(name) for name in self.fields} | given

    def value(self, name: str) -> Any:
        """Return a value of a field, as JSON has it."""
        field, number = self.fields[name], next(self._numbers)
        if field.is_secret:
            return f"{PASSWORD}{number}"
        if field.is_reference:
            return self.parent(name, next(self._parents[name]))
        return shown(numbered(field.type, name, number))

    def parent(self, name: str, number: int) -> int | None:
        """Return the id of a record that a field may refer to; none of its own table."""
        is_own = self.parents[name] is table_of(self.table)
        return None if is_own else PARENTS[number % len(PARENTS)]

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

    async def add_child(self, app: FastAPI, parent: int) -> None:
        """Store a record that refers to this one, if there are any that may."""
        own = table_of(self.table)
        for child in EVERY:
            if references := [name for name in child.parents if child.parents[name] is own]:
                async with app.state.service.database.engine.begin() as connection:
                    await child.insert(connection, **dict.fromkeys(references, parent))
                return

    async def insert(self, connection: AsyncConnection, **given: Any) -> None:
        """Store a row without a request, and those that it refers to."""
        await add_parents(connection, [self], owned=True)
        row = parent_row(self, next(self._numbers), PARENTS[0]) | given
        await connection.execute(insert(table_of(self.table)).values(row))


def default(type_: FieldType, info: FieldInfo) -> Any:
    """Return the default of a field, as JSON has it."""
    if isinstance(type_, DecimalType) and info.default is not None:
        return f"{info.default:.{type_.decimal_places}f}"
    return shown(info.default)


EVERY = [Resource(name, module) for name, module in resources.modules().items()]
RESOURCES = [each for each in EVERY if not each.lacks]
"""The resources with all requests of songs.py, on which the tests of each resource run."""


def pytest_report_header() -> list[str]:
    """Say which resources have tests of their own only, and why."""
    return [
        f"the contract is tested without {each.name}, which lacks {', '.join(each.lacks)}"
        for each in EVERY
        if each.lacks
    ]


async def add_parents(
    connection: AsyncConnection, children: Iterable[Resource], *, owned: bool = False
) -> None:
    """Store the records that bodies of these resources refer to, and those that they refer to.

    `owned`: also the owners of rows of these resources.
    """
    by_table = {table_of(each.table): each for each in EVERY}
    found: dict[Table, Resource] = {}
    waiting = [*children]
    while waiting:
        child = waiting.pop()
        for table in child.referred(owned=owned or table_of(child.table) in found):
            if table is not table_of(child.table) and table not in found:
                found[table] = by_table[table]
                waiting.append(by_table[table])
    for table in SQLModel.metadata.sorted_tables if found else ():
        if table in found:
            for number, parent in enumerate(PARENTS, 10**6):
                row = {"id": parent, **parent_row(found[table], number, parent)}
                await connection.execute(insert(table).values(row).on_conflict_do_nothing())


def parent_row(resource: Resource, number: int, parent: int) -> dict[str, Any]:
    """Return a row with what its table asks for; it refers to the parent of this id."""
    table, types = table_of(resource.table), column_types(resource.table)
    needed = [each for each in table.c if not (each.nullable or each.server_default)]
    return {
        each.name: parent if each.foreign_keys else numbered(types[each.name], each.name, number)
        for each in needed
    }


@pytest.fixture
async def empty_tables(app: FastAPI, tested: Tested, request: pytest.FixtureRequest) -> None:
    """Empty all tables; store the records that bodies of the tested resources refer to."""
    names = request.fixturenames
    tests_one = next((name for name in ("resource", "way") if name in names), None)
    children = EVERY
    if tests_one:
        given = request.getfixturevalue(tests_one)
        children = [getattr(given, "resource", given)]
    async with app.state.service.database.engine.connect() as connection:
        await empty(connection)
        if tested is SERVICE:
            await add_parents(connection, children)
            await connection.commit()


@pytest.fixture(params=RESOURCES, ids=lambda resource: resource.name)
def resource(request: pytest.FixtureRequest) -> Resource:
    """Give each resource in turn."""
    found: Resource = request.param
    return found


def fields_of(is_one: Callable[[Field], bool]) -> list[Any]:
    """Return the fields for which this is true, with their resources: no secrets or references."""
    return [
        pytest.param(resource, name, id=f"{resource.name}.{name}")
        for resource in RESOURCES
        for name, field in resource.fields.items()
        if name in resource.public.model_fields and not field.is_reference and is_one(field)
    ]


TEXTS = fields_of(lambda field: isinstance(field.type, TextType) and field.type.pattern is None)
