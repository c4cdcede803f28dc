"""The OpenAPI document: what it says is what the service does."""

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from threading import Thread
from typing import Any

import jsonschema_rs
import pytest
import uvicorn
from httpx import ASGITransport, AsyncClient
from sqlalchemy.engine import URL

from app.main import create_app
from app.settings import Settings
from tests.conftest import PROJECT, Resource, spelled

COMMITTED = PROJECT.parent / "docs" / "openapi.json"
SCHEMAS = "#/components/schemas/"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """Return the document."""
    return create_app(Settings()).openapi()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Give the method, the path and the description of every operation."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method.upper(), path, operation


def resolved(document: dict[str, Any], described: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference within the document."""
    found: Any = document
    for name in described.get("$ref", "#").split("/")[1:]:
        found = found[name]
    return found if "$ref" in described else described


def test_the_committed_document_is_the_one_of_the_service(document: dict[str, Any]) -> None:
    expected = json.dumps(document, indent=2) + "\n"

    assert COMMITTED.read_text() == expected, "write it anew with: make openapi"


async def test_the_first_readers_get_the_same_bytes(database_url: URL) -> None:
    app = create_app(Settings(database_url=spelled(database_url)))
    async with AsyncClient(transport=ASGITransport(app), base_url="http://songbook") as client:
        answers = await asyncio.gather(*[client.get("/openapi.json") for _ in range(20)])

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert answers[0].json() == json.loads(COMMITTED.read_text())


def test_every_operation_and_parameter_is_explained(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        assert operation["summary"], (method, path)
        assert operation["description"].endswith("."), (method, path)
        assert operation["tags"], (method, path)
        for parameter in operation.get("parameters", []):
            assert parameter["description"].endswith("."), (path, parameter["name"])
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names)


def test_every_failure_is_a_problem_of_one_schema(document: dict[str, Any]) -> None:
    failures = [
        resolved(document, response)
        for _, _, operation in operations(document)
        for status, response in operation["responses"].items()
        if int(status) >= 400
    ]

    assert len(failures) > 20
    for failure in failures:
        assert failure["content"] == {
            "application/problem+json": {"schema": {"$ref": SCHEMAS + "ProblemDetails"}}
        }
        assert "X-Request-ID" in failure["headers"]


def test_every_schema_is_one_and_every_example_fits_its_own(document: dict[str, Any]) -> None:
    schemas = list(document["components"]["schemas"].values())
    for _, _, operation in operations(document):
        for parameter in operation.get("parameters", []):
            schemas.append(parameter["schema"])
            if "example" in parameter:
                jsonschema_rs.validate(parameter["schema"], parameter["example"])
    for schema in schemas:
        jsonschema_rs.meta.validate(schema)


def test_no_table_is_shown(document: dict[str, Any], resource: Resource) -> None:
    schemas = document["components"]["schemas"]

    assert resource.table.__name__ not in schemas
    assert list(schemas[resource.public.__name__]["properties"]) == list(
        resource.public.model_fields
    )
    assert not any("version" in schema.get("properties", {}) for schema in schemas.values())


def test_a_change_may_leave_every_field_out_and_none_has_a_default(
    document: dict[str, Any], resource: Resource
) -> None:
    schemas = document["components"]["schemas"]
    created, changed = (schemas[model.__name__] for model in (resource.create, resource.update))

    assert "required" not in changed
    assert "default" not in json.dumps(changed)
    assert changed["properties"].keys() == created["properties"].keys()
    assert created["additionalProperties"] is changed["additionalProperties"] is False


def test_the_filters_are_those_of_the_public_fields(
    document: dict[str, Any], resource: Resource
) -> None:
    expected = {"limit", "sort", "after", "q", "count", "If-None-Match"}
    public = document["components"]["schemas"][resource.public.__name__]["properties"]
    for name, schema in public.items():
        kinds = {kind["type"] for kind in schema.get("anyOf", [schema])}
        more = ["_contains"] if "string" in kinds else ["_gt", "_gte", "_lt", "_lte"]
        expected |= {name, *(name + comparison for comparison in more)}

    described = document["paths"][resource.path]["get"]["parameters"]

    assert {parameter["name"] for parameter in described} == expected
    [sort] = [parameter for parameter in described if parameter["name"] == "sort"]
    assert {key.removeprefix("-") for key in sort["schema"]["items"]["enum"]} == set(public)


# What is wrong with a request, one thing at a time; much of it means nothing to most operations.
ADDRESSES = ["", "?after=x", "?no_such=1"]
HEADERS = [
    {"If-Match": "x"},
    {"If-Match": '"x"'},
    {"If-None-Match": "x"},
    {"If-None-Match": "*"},
    {"Content-Type": "text/plain"},
]
BODIES = ["{", '{"no_such": 1}', f'"{"x" * 70_000}"']


@pytest.fixture
async def clients(database_url: URL, client: AsyncClient) -> AsyncIterator[list[AsyncClient]]:
    """Give clients of the service, of one that asks for If-Match, of one without a database."""
    unreachable = "postgresql://nobody@127.0.0.1:1/nowhere"
    async with AsyncExitStack() as stack:
        found = [client]
        for more in (
            Settings(database_url=spelled(database_url), require_if_match=True),
            Settings(database_url=unreachable),
        ):
            app = create_app(more)
            await stack.enter_async_context(app.router.lifespan_context(app))
            other = AsyncClient(transport=ASGITransport(app), base_url="http://songbook")
            found.append(await stack.enter_async_context(other))
        yield found


async def test_an_operation_gives_every_status_that_it_declares_and_no_other(
    clients: list[AsyncClient], document: dict[str, Any], resource: Resource
) -> None:
    declared = {
        (method, path): {int(status) for status in operation["responses"]}
        for method, path, operation in operations(document)
        if path.startswith(resource.path)
    }
    given: dict[tuple[str, str], set[int]] = {operation: set() for operation in declared}

    async def ask(client: AsyncClient, address: str, headers: dict[str, str], body: str) -> None:
        for method, path in declared:
            added = await resource.add(clients[0])
            answer = await client.request(
                method,
                path.replace("{id}", str(added.json()["id"])) + address,
                headers={"Content-Type": "application/json", **headers},
                content=body or json.dumps(resource.body()),
            )
            given[method, path].add(answer.status_code)

    for client in clients:
        await ask(client, "", {}, "")
    for address in ADDRESSES:
        await ask(clients[0], address, {}, "")
    for headers in HEADERS:
        await ask(clients[0], "", headers, "")
    for body in BODIES:
        await ask(clients[0], "", {}, body)
    for method, path in declared:
        for number in ("0", "x") if "{id}" in path else ():
            answer = await clients[0].request(
                method, path.replace("{id}", number), json=resource.body()
            )
            given[method, path].add(answer.status_code)

    assert given == declared


@pytest.fixture
def address(migrated_url: URL) -> Iterator[str]:
    """Give the address of a service on a database of its own."""
    app = create_app(Settings(database_url=spelled(migrated_url)))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, server_header=False))
        thread = Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(30)


@pytest.mark.timeout(120)
def test_schemathesis_finds_nothing(address: str, document: dict[str, Any]) -> None:
    tried = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", "run", f"{address}/openapi.json", "--no-color"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )

    assert tried.returncode == 0, tried.stdout + tried.stderr
    assert f"Tested: {len(list(operations(document)))}\n" in tried.stdout
    for phase in ("Examples", "Coverage", "Fuzzing", "Stateful"):
        assert f"✅ {phase}\n" in tried.stdout
