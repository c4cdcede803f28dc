"""Aliases: the addresses of the tutorials, answered as the ones that the documentation tells."""

from typing import Any

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient, Response

from app.main import ALIASES
from songbook.http.media_types import CSV
from tests.support.asserts import assert_headers, assert_problem
from tests.support.bulk import takes_many
from tests.support.clients import PRINCIPAL, sign_in
from tests.support.replays import assert_again, assert_first
from tests.support.reports import counts, report_of, send_rows, written
from tests.support.resources import RESOURCES, Resource

ALIASED = {path: alias for alias, path in ALIASES.items()}
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"]

HERE = [resource for resource in RESOURCES if resource.path in ALIASED]

each_aliased = pytest.mark.parametrize("resource", HERE, ids=lambda resource: resource.name)


def alias_of(resource: Resource) -> str:
    return ALIASED[resource.path]


def told(answer: Response) -> tuple[int, Any, dict[str, str]]:
    """Return what an answer tells, whichever of two addresses was asked."""
    own = {"x-request-id", "server-timing", "link", "location", "content-length"}
    headers = {name: value for name, value in answer.headers.items() if name not in own}
    if answer.status_code < 400 or not answer.content:
        return answer.status_code, answer.content, headers
    problem = {**answer.json(), "instance": "", "request_id": ""}
    return answer.status_code, problem, headers


def test_the_tutorials_addresses_are_there() -> None:
    assert ALIASES == {"/api/v1/todo": "/todos", "/api/users": "/users", "/api/docs": "/docs"}
    assert "/users" in {resource.path for resource in HERE}


def test_the_todos_are_at_the_tutorials_address() -> None:
    pytest.importorskip("app.resources.todos", reason="there are no todos in this service")
    assert "/todos" in {resource.path for resource in HERE}


@each_aliased
async def test_a_record_is_created_and_found_under_the_alias_and_under_the_original(
    client: AsyncClient, resource: Resource
) -> None:
    alias = alias_of(resource)

    for prefix, address in ((alias, f"{alias}/1"), (f"{alias}/", f"{alias}/2")):
        created = await client.post(prefix, json=resource.body())
        assert (created.status_code, created.headers["location"]) == (201, address)
        found = await client.get(address)
        original = await client.get(address.replace(alias, resource.path))
        assert found.content == original.content == created.content
        assert found.headers["etag"] == original.headers["etag"] == created.headers["etag"]


@each_aliased
async def test_a_walk_stays_under_the_alias_that_it_began_at(
    client: AsyncClient, resource: Resource
) -> None:
    alias = alias_of(resource)
    added = [(await resource.add(client)).json() for _ in range(3)]

    page, seen = await resource.page(client, alias, limit=1), []
    while True:
        seen += resource.rows(page)
        if "next" not in page.links:
            break
        assert page.links["next"]["url"].startswith(f"{alias}?")
        original = await client.get(page.links["next"]["url"].replace(alias, resource.path, 1))
        page = await client.get(page.links["next"]["url"])
        assert page.content == original.content

    assert seen == added


@each_aliased
async def test_addresses_under_an_alias_are_under_the_prefix_of_the_service(
    client: AsyncClient, app: FastAPI, resource: Resource
) -> None:
    alias = alias_of(resource)
    transport = ASGITransport(app, root_path="/music")
    async with AsyncClient(transport=transport, base_url="http://songbook") as below:
        below.headers = client.headers
        created = await below.post(f"/music{alias}", json=resource.body())
        await resource.add(client)
        page = await resource.page(below, f"/music{alias}", limit=1)

    assert created.headers["location"] == f"/music{alias}/1"
    assert page.links["next"]["url"].startswith(f"/music{alias}?")


@each_aliased
async def test_every_method_is_answered_under_the_alias_as_under_the_original(
    client: AsyncClient, app: FastAPI, resource: Resource
) -> None:
    await resource.add(client)
    paths = [path for path in app.openapi()["paths"] if f"{path}/".startswith(f"{resource.path}/")]
    ends = {path.removeprefix(resource.path) for path in paths}
    ends |= {"/{id}/", "/0", "/x", "/1/2", "//", "?limit=0", "?after=x", "?no_such=1"}
    assert {"", "/{id}"} < ends

    for end in sorted(end.replace("{id}", "1") for end in ends):
        for method in METHODS:
            one, other = [
                await client.request(method, path + end, json={}, headers={"If-Match": '"x"'})
                for path in (alias_of(resource), resource.path)
            ]
            assert told(one) == told(other), (method, end)
            assert_headers(one)


@each_aliased
async def test_what_is_written_under_the_alias_is_written(
    client: AsyncClient, resource: Resource
) -> None:
    alias, body = alias_of(resource), resource.body()
    await resource.add(client)

    replaced = await client.put(f"{alias}/1", json=body)
    changed = await client.patch(f"{alias}/1", json={})
    assert resource.told(replaced) == resource.told(changed) == {"id": 1, **resource.shown(body)}
    assert (await client.delete(f"{alias}/1")).status_code == 204
    assert_problem(await client.get(f"{resource.path}/1"), 404, "not-found")


@each_aliased
async def test_what_is_sent_again_under_its_key_to_the_other_address_is_done_once(
    client: AsyncClient, resource: Resource
) -> None:
    alias, body = alias_of(resource), resource.body()
    paths = [resource.path, alias, f"{resource.path}/", f"{alias}/"]
    part = {resource.required[0]: resource.value(resource.required[0])}
    for nth, path in enumerate(paths):
        keyed = {"Idempotency-Key": f"{nth}"}
        created = await client.post(path, json=body, headers=keyed)
        assert_first(created)
        assert created.headers["location"].startswith(path.rstrip("/"))
        number, changing = created.json()["id"], {"Idempotency-Key": f"{nth}-changing"}
        changed = await client.patch(f"{path.rstrip('/')}/{number}", json=part, headers=changing)
        assert_first(changed)
        for other in paths:
            assert_again(await client.post(other, json=body, headers=keyed), created)
            one = f"{other.rstrip('/')}/{number}"
            assert_again(await client.patch(one, json=part, headers=changing), changed)
            assert_again(await client.patch(f"{one}/", json=part, headers=changing), changed)
        assert (await client.delete(created.headers["location"])).status_code == 204


@pytest.mark.parametrize(
    "resource", [each for each in HERE if takes_many(each)], ids=lambda resource: resource.name
)
async def test_many_rows_may_be_sent_to_another_address_of_the_resource(
    client: AsyncClient, resource: Resource
) -> None:
    for path in (f"{resource.path}/", alias_of(resource)):
        content = written([resource.body()], CSV)
        assert counts(report_of(await send_rows(client, content, path=path))) == (1, 1, 0, 0)


async def test_the_alias_of_users_lets_in_whom_the_original_does(
    client: AsyncClient, app: FastAPI
) -> None:
    user = await sign_in(app, PRINCIPAL + 1, is_superuser=False)

    for path in ("/users", "/api/users"):
        for headers, listed, read, changed in (
            ({}, 401, 401, 401),
            ({"Authorization": user}, 403, 200, 403),
        ):
            assert (await client.get(path, headers=headers)).status_code == listed
            url = f"{path}/{PRINCIPAL + 1}"
            assert (await client.get(url, headers=headers)).status_code == read
            assert (await client.delete(url, headers=headers)).status_code == changed
            me = await client.get(f"{path}/me", headers=headers)
            assert me.status_code == read


async def test_an_alias_is_not_in_the_documentation(client: AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()

    assert not [path for path in document["paths"] if path.startswith(tuple(ALIASES))]
    index = await client.get("/")
    assert not [alias for alias in ALIASES if f'"{alias}' in index.text]


async def test_the_documentation_is_at_its_alias_too(client: AsyncClient) -> None:
    for end in ("", "/", "/assets/0/swagger-ui.css"):
        one, other = await client.get(f"/api/docs{end}"), await client.get(f"/docs{end}")
        assert (one.status_code, one.content) == (200, other.content)
        assert_headers(one)


@pytest.mark.parametrize("path", ["/api", "/api/v1", "/api/v1/todos", "/api/todo", "/api/songs"])
async def test_what_is_like_an_alias_is_none(client: AsyncClient, path: str) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        assert_problem(await client.request(method, path, json={}), 404, "not-found")
