"""What every resource promises, the next one as soon as it exists: bodies come from its classes."""

import ast
import inspect
import json
import re
from collections.abc import Iterator
from textwrap import dedent
from typing import Any, get_args, get_type_hints

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient, Response
from pydantic import BaseModel
from starlette.responses import Response as Starlette

from songbook.http.routing import Route
from songbook.models.field_types import IntegerType, TextType
from tests.support.asserts import assert_headers, assert_problem
from tests.support.resources import RESOURCES, TEXTS, Resource, fields_of
from tests.support.values import extremes, invalid, shown

WHOLE = fields_of(lambda field: isinstance(field.type, IntegerType))
OTHERS = fields_of(lambda field: not isinstance(field.type, TextType | IntegerType))
NULLABLE = fields_of(lambda field: field.is_nullable)
NOT_NULLABLE = fields_of(lambda field: not field.is_nullable)
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PROPFIND", "BREW"]
MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}


def tag(answer: Response) -> str:
    """Return the entity tag of an answer."""
    found: str = answer.headers["etag"]
    return found


def without_request_id(answer: Response) -> dict[str, str]:
    """Return the headers of an answer but the one that every answer has a new one of."""
    own = {"x-request-id", "server-timing"}
    return {name: value for name, value in answer.headers.items() if name not in own}


async def test_what_was_created_is_answered_whole_and_found_at_its_location(
    client: AsyncClient, resource: Resource
) -> None:
    body = resource.body()

    created = await client.post(resource.path, json=body)
    read = await client.get(created.headers["location"])

    assert created.status_code == 201
    assert resource.told(created) == {"id": 1, **resource.shown(body)}
    assert list(created.json()) == list(resource.public.model_fields)
    assert created.headers["location"] == f"{resource.path}/1"
    assert (read.status_code, read.json(), tag(read)) == (200, created.json(), tag(created))


async def test_a_list_shows_what_is_there_a_page_at_a_time(
    client: AsyncClient, resource: Resource
) -> None:
    empty = await resource.page(client)
    rows = [(await resource.add(client)).json() for _ in range(3)]

    whole = await resource.page(client)
    first = await resource.page(client, limit=2)
    second = await client.get(first.links["next"]["url"])
    same = await resource.page(client, limit=2, after=first.headers["x-next-cursor"])

    assert resource.rows(empty) == []
    assert resource.rows(whole) == rows
    assert [*resource.rows(first), *resource.rows(second)] == rows
    assert (len(resource.rows(first)), len(resource.rows(second))) == (2, 1)
    assert same.content == second.content
    for last in (whole, second):
        assert not {"link", "x-next-cursor"} & last.headers.keys()


async def test_a_field_left_out_of_a_new_record_has_its_default(
    client: AsyncClient, resource: Resource
) -> None:
    body = {name: resource.value(name) for name in resource.required}

    created = await client.post(resource.path, json=body)

    expected = {"id": 1, **resource.shown(body), **resource.defaults}
    assert expected.items() <= created.json().items()


async def test_a_required_field_cannot_be_left_out(client: AsyncClient, resource: Resource) -> None:
    await resource.add(client)

    for name in resource.required:
        body = {other: value for other, value in resource.body().items() if other != name}
        for refused in (
            await client.post(resource.path, json=body),
            await client.put(f"{resource.path}/1", json=body),
        ):
            [error] = assert_problem(refused, 422, "validation")["errors"]
            assert (error["pointer"], error["location"]) == (f"/{name}", "body")


async def test_put_replaces_everything_and_resets_what_is_left_out(
    client: AsyncClient, resource: Resource
) -> None:
    created = await resource.add(client)
    body = resource.body()

    replaced = await client.put(f"{resource.path}/1", json=body)
    reset = await client.put(
        f"{resource.path}/1", json={name: body[name] for name in resource.required}
    )

    required = {name: body[name] for name in resource.required}
    expected = {"id": 1, **resource.shown(required), **resource.defaults}
    assert replaced.status_code == 200
    assert resource.told(replaced) == {"id": 1, **resource.shown(body)}
    assert expected.items() <= reset.json().items()
    assert (await client.get(f"{resource.path}/1")).json() == reset.json()
    assert len({tag(created), tag(replaced), tag(reset)}) == 3
    assert "location" not in replaced.headers


async def test_patch_changes_only_what_is_sent(client: AsyncClient, resource: Resource) -> None:
    row = resource.told(await resource.add(client))
    other = (await resource.add(client)).json()

    for name in resource.fields:
        value = resource.value(name)
        row |= resource.shown({name: value})
        changed = await client.patch(f"{resource.path}/1", json={name: value})
        assert (changed.status_code, resource.told(changed)) == (200, row)
    assert resource.rows(await resource.page(client)) == [changed.json(), other]


async def test_an_empty_patch_changes_nothing_and_not_even_the_tag(
    client: AsyncClient, resource: Resource
) -> None:
    created = await resource.add(client)

    unchanged = await client.patch(f"{resource.path}/1", json={})
    read = await client.get(f"{resource.path}/1")

    assert (unchanged.status_code, unchanged.json()) == (200, created.json())
    assert tag(unchanged) == tag(read) == tag(created)


async def test_a_merge_patch_is_a_patch_and_nothing_else(
    client: AsyncClient, resource: Resource
) -> None:
    await resource.add(client)
    body = resource.body()

    patched = await client.patch(f"{resource.path}/1", json=body, headers=MERGE_PATCH)
    created = await client.post(resource.path, json=body, headers=MERGE_PATCH)
    replaced = await client.put(f"{resource.path}/1", json=body, headers=MERGE_PATCH)

    assert patched.status_code == 200
    assert resource.told(patched) == {"id": 1, **resource.shown(body)}
    assert_problem(created, 415, "unsupported-media-type")
    assert_problem(replaced, 415, "unsupported-media-type")


@pytest.mark.parametrize(("resource", "name"), NULLABLE)
async def test_null_clears_a_field_that_may_be_null(
    client: AsyncClient, resource: Resource, name: str
) -> None:
    row = resource.told(await resource.add(client))

    patched = await client.patch(f"{resource.path}/1", json={name: None})
    created = await client.post(resource.path, json=resource.body(**{name: None}))

    assert (patched.status_code, resource.told(patched)) == (200, row | {name: None})
    assert (created.status_code, created.json()[name]) == (201, None)


@pytest.mark.parametrize(("resource", "name"), NOT_NULLABLE)
async def test_null_is_refused_for_a_field_that_may_not_be_null(
    client: AsyncClient, resource: Resource, name: str
) -> None:
    created = await resource.add(client)
    url, body = f"{resource.path}/1", resource.body(**{name: None})

    for refused in (
        await client.patch(url, json={name: None}),
        await client.put(url, json=body),
        await client.post(resource.path, json=body),
    ):
        [error] = assert_problem(refused, 422, "validation")["errors"]
        assert error["pointer"] == f"/{name}"
    assert tag(await client.get(url)) == tag(created)


async def test_a_deleted_record_is_gone_for_everything(
    client: AsyncClient, resource: Resource
) -> None:
    await resource.add(client)
    url = f"{resource.path}/1"

    deleted = await client.delete(url)

    assert (deleted.status_code, deleted.content) == (204, b"")
    assert not {"content-type", "content-length", "etag"} & set(deleted.headers)
    assert_problem(await client.get(url), 404, "not-found")
    assert (await client.head(url)).status_code == 404
    assert_problem(await client.put(url, json=resource.body()), 404, "not-found")
    assert_problem(await client.patch(url, json=resource.body()), 404, "not-found")
    assert_problem(await client.patch(url, json={}), 404, "not-found")
    assert_problem(await client.delete(url), 404, "not-found")
    assert resource.rows(await resource.page(client)) == []


async def test_an_id_is_not_given_twice(client: AsyncClient, resource: Resource) -> None:
    await resource.add(client)
    await client.delete(f"{resource.path}/1")

    assert (await resource.add(client)).json()["id"] == 2


def addresses(app: FastAPI) -> dict[str, set[str]]:
    """Return every address of the service with an id in it, and the methods it should have."""
    paths = {
        path: {method.upper() for method in item} for path, item in app.openapi()["paths"].items()
    }
    for path in ("/docs", "/openapi.json", "/docs/assets/0/swagger-ui.css"):
        paths[path] = {"GET"}
    return {
        re.sub(r"\{\w+\}", "1", path): {
            *methods,
            "OPTIONS",
            *({"HEAD"} if "GET" in methods else ()),
        }
        for path, methods in paths.items()
    }


async def test_options_tells_all_the_methods_of_every_address(
    client: AsyncClient, app: FastAPI
) -> None:
    for path, methods in addresses(app).items():
        answer = await client.options(path)

        assert (path, answer.status_code, answer.content) == (path, 204, b"")
        assert set(answer.headers["allow"].split(", ")) == methods


async def test_another_method_of_an_address_is_refused_with_the_methods_that_it_has(
    client: AsyncClient, app: FastAPI
) -> None:
    for path, methods in addresses(app).items():
        for method in [method for method in METHODS if method not in methods]:
            answer = await client.request(method, path)

            assert set(answer.headers["allow"].split(", ")) == methods, (method, path)
            if method == "HEAD":
                assert (answer.status_code, answer.content) == (405, b"")
            else:
                assert_problem(answer, 405, "method-not-allowed")


async def test_every_method_that_options_tells_is_one_that_is_answered(
    client: AsyncClient, app: FastAPI
) -> None:
    for path, methods in addresses(app).items():
        for method in methods:
            answer = await client.request(method, path)
            assert answer.status_code not in {405, 500, 501}, (method, path)


async def test_head_is_get_without_the_body(
    client: AsyncClient, app: FastAPI, resource: Resource
) -> None:
    await resource.add(client)
    await resource.add(client)
    urls = [url for url, methods in addresses(app).items() if "GET" in methods]
    urls += [f"{resource.path}?limit=1&count=exact", f"{resource.path}/99", f"{resource.path}/a"]
    urls += [f"{resource.path}?limit=0", "/nowhere"]

    for url in urls:
        read, head = await client.get(url), await client.head(url)

        assert (url, head.status_code) == (url, read.status_code)
        assert without_request_id(head) == without_request_id(read)
        assert head.content == b""
        assert read.content or url.endswith(".ndjson")  # which has a line for each row


async def test_one_trailing_slash_changes_nothing_and_redirects_nobody(
    client: AsyncClient, resource: Resource
) -> None:
    created = await client.post(f"{resource.path}/", json=resource.body())
    await resource.add(client)
    page = await resource.page(client, f"{resource.path}/", limit=1)
    read = await client.get(f"{resource.path}/1/")

    assert (created.status_code, created.headers["location"]) == (201, f"{resource.path}/1")
    assert (page.status_code, resource.rows(page)) == (200, [created.json()])
    assert page.links["next"]["url"].startswith(f"{resource.path}?sort=id&")
    assert (read.status_code, read.json()) == (200, created.json())
    assert (await client.patch(f"{resource.path}/1/", json={})).status_code == 200
    assert (await client.options(f"{resource.path}/1/")).status_code == 204
    assert (await client.delete(f"{resource.path}/1/")).status_code == 204


async def test_deeper_and_doubled_slashes_are_no_address(
    client: AsyncClient, resource: Resource
) -> None:
    await resource.add(client)

    for path in ("/1/2", "/1//", "//", "//1", "/1/2/", "///"):
        for method in ("GET", "PUT", "DELETE", "OPTIONS"):
            answer = await client.request(method, f"http://songbook{resource.path}{path}")
            assert_problem(answer, 404, "not-found")
    assert_problem(await client.get(f"http://songbook/{resource.path}"), 404, "not-found")
    assert_problem(await client.get(f"http://songbook{resource.path.upper()}"), 404, "not-found")


async def test_an_id_is_ascii_digits(client: AsyncClient, resource: Resource) -> None:
    await resource.add(client)

    texts = [
        "a",
        "1.0",
        "1e0",
        "0x1",
        "1_0",
        "-1",
        "+1",
        "\uff11",
        "\u0661",
        "1%20",
        "%201",
        "1%00",
    ]
    for text in texts:
        for method in ("GET", "PUT", "PATCH", "DELETE"):
            answer = await client.request(method, f"{resource.path}/{text}", json=resource.body())
            [error] = assert_problem(answer, 422, "validation")["errors"]
            assert (error["pointer"], error["location"]) == ("/id", "path")


async def test_a_number_that_no_record_has_is_not_found(
    client: AsyncClient, resource: Resource
) -> None:
    for number in (0, 1, 2**31, 2**63 - 1, 2**63, 10**99, "9" * 5000):
        for method in ("GET", "PUT", "PATCH", "DELETE"):
            url = f"{resource.path}/{number}"
            answer = await client.request(method, url, json=resource.body())
            assert_problem(answer, 404, "not-found")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:99999", "a/../b", "", "[::1", "\\"])
async def test_addresses_in_answers_do_not_depend_on_the_host_that_is_asked(
    client: AsyncClient, resource: Resource, host: str
) -> None:
    headers = {"Host": host, "X-Forwarded-Host": "evil.example", "X-Forwarded-Prefix": "/evil"}
    headers["Forwarded"] = "host=evil.example;proto=https"

    created = await client.post(resource.path, json=resource.body(), headers=headers)
    await resource.add(client)
    page = await client.get(f"{resource.path}?limit=1", headers=headers)

    assert created.headers["location"] == f"{resource.path}/1"
    assert page.headers["link"].startswith(f"<{resource.path}?limit=1&after=")
    assert page.headers["link"].endswith('>; rel="next"')


async def test_addresses_in_answers_are_under_the_prefix_of_the_service(
    client: AsyncClient, app: FastAPI, resource: Resource
) -> None:
    transport = ASGITransport(app, root_path="/music")
    async with AsyncClient(transport=transport, base_url="http://songbook") as below:
        below.headers = client.headers
        created = await below.post(f"/music{resource.path}/", json=resource.body())
        await resource.add(client)
        page = await resource.page(below, f"/music{resource.path}", limit=1)
        rest = await below.get(page.links["next"]["url"])

    assert created.headers["location"] == f"/music{resource.path}/1"
    assert page.links["next"]["url"].startswith(f"/music{resource.path}?")
    assert [row["id"] for row in resource.rows(page) + resource.rows(rest)] == [1, 2]


@pytest.mark.parametrize(
    "unknown",
    [
        "unknown",
        "id",
        "version",
        "owner_id",
        "",
        "Name",
        "created_at",
        "deleted_at",
        "hashed_password",
    ],
)
async def test_a_field_that_a_client_does_not_write_is_refused(
    client: AsyncClient, resource: Resource, unknown: str
) -> None:
    created = await resource.add(client)
    url, body = f"{resource.path}/1", resource.body(**{unknown: 7})

    for refused in (
        await client.post(resource.path, json=body),
        await client.put(url, json=body),
        await client.patch(url, json={unknown: 7}),
    ):
        [error] = assert_problem(refused, 422, "validation")["errors"]
        assert (error["pointer"], error["type"]) == (f"/{unknown}", "extra_forbidden")
    assert resource.rows(await resource.page(client)) == [created.json()]
    assert tag(await client.get(url)) == tag(created)


@pytest.mark.parametrize("body", ["null", "[]", "7", '"x"', "true", "[{}]", '["name"]'])
async def test_a_body_is_an_object(client: AsyncClient, resource: Resource, body: str) -> None:
    await resource.add(client)
    headers = {"Content-Type": "application/json"}

    for method, url in (("POST", ""), ("PUT", "/1"), ("PATCH", "/1")):
        answer = await client.request(method, resource.path + url, content=body, headers=headers)
        [error] = assert_problem(answer, 422, "validation")["errors"]
        assert error.get("pointer") == ""


@pytest.mark.parametrize(("resource", "name"), WHOLE)
async def test_a_whole_number_may_be_written_in_several_ways(
    client: AsyncClient, resource: Resource, name: str
) -> None:
    low, high = extremes(resource.fields[name].type)
    written = {f"{bound}": bound for bound in (low, high)}
    written |= {f'"{bound}"': bound for bound in (low, high)}
    written |= {f"{bound}.0": bound for bound in (low, high) if abs(bound) < 2**53}
    written |= {"1e1": 10, "100e-1": 10} if low <= 10 <= high else {}

    for text, number in written.items():
        body = json.dumps({**resource.body(), name: "@"}).replace('"@"', text)
        answer = await client.post(
            resource.path, content=body, headers={"Content-Type": "application/json"}
        )
        assert (text, answer.status_code) == (text, 201)
        assert answer.json()[name] == number
        assert isinstance(answer.json()[name], int)


@pytest.mark.parametrize(("resource", "name"), WHOLE)
async def test_what_is_no_whole_number_of_the_range_is_refused(
    client: AsyncClient, resource: Resource, name: str
) -> None:
    created = await resource.add(client)
    low, high = extremes(resource.fields[name].type)
    texts = ["true", "false", "[]", "{}", "[1]", "1.5", "1e400", "-1e400", "1e22"]
    texts += ["1e-400"] if low > 0 else []  # as a double it is 0
    texts += [f"{low - 1}", f"{high + 1}", f"{2**63}", f"{-(2**63) - 1}", "9" * 4300]
    texts += [f'"{low - 1}"', f'"{high + 1}"', f'"{"9" * 4300}"', f'"{"9" * 5000}"']
    strings = ["", " ", "a", "1_000", "1,000", " 5", "5 ", "5\n", "+5", "05", "-0", "5.0", "5e0"]
    strings += ["0x5", "0b1", "\u0663", "\uff11", "5\0", "Infinity", "NaN", "null", "true", "--5"]
    texts += [json.dumps(string) for string in strings]

    for text in texts:
        for method, url in (("POST", ""), ("PATCH", "/1")):
            body = json.dumps({**resource.body(), name: "@"}).replace('"@"', text)
            answer = await client.request(
                method,
                resource.path + url,
                content=body,
                headers={"Content-Type": "application/json"},
            )
            assert (text[:20], answer.status_code) == (text[:20], 422)
            [error] = assert_problem(answer, 422, "validation")["errors"]
            assert error["pointer"] == f"/{name}"
    assert resource.rows(await resource.page(client)) == [created.json()]


@pytest.mark.parametrize(("resource", "name"), TEXTS)
async def test_a_text_comes_back_as_it_was_sent(
    client: AsyncClient, resource: Resource, name: str
) -> None:
    texts = extremes(resource.fields[name].type)

    for text in texts:
        body = json.dumps(resource.body(**{name: text}), ensure_ascii=len(text) % 2 == 0)
        created = await client.post(
            resource.path, content=body.encode(), headers={"Content-Type": "application/json"}
        )
        read = await client.get(created.headers["location"])
        assert (text, created.status_code, created.json()[name]) == (text, 201, text)
        assert read.json()[name] == text
    listed = resource.rows(await resource.page(client, limit=1000))
    assert [row[name] for row in listed] == texts


@pytest.mark.parametrize(("resource", "name"), TEXTS)
async def test_a_text_is_stripped_of_the_white_space_around_it(
    client: AsyncClient, resource: Resource, name: str
) -> None:
    text = resource.value(name)
    space = " \t\r\n\x0b\x0c\x85\xa0\u1680\u2000\u200a\u2028\u2029\u202f\u205f\u3000"

    created = await resource.add(client, **{name: f"{space}{text}{space}"})

    assert created.json()[name] == text


@pytest.mark.parametrize(("resource", "name"), TEXTS)
async def test_what_is_no_text_of_the_length_is_refused(
    client: AsyncClient, resource: Resource, name: str
) -> None:
    created = await resource.add(client)

    for text in invalid(resource.fields[name].type):
        for method, url in (("POST", ""), ("PATCH", "/1")):
            body = json.dumps(resource.body(**{name: text}))
            answer = await client.request(
                method,
                resource.path + url,
                content=body,
                headers={"Content-Type": "application/json"},
            )
            [error] = assert_problem(answer, 422, "validation")["errors"]
            assert error["pointer"] == f"/{name}"
    assert resource.rows(await resource.page(client)) == [created.json()]


@pytest.mark.parametrize(("resource", "name"), OTHERS)
async def test_the_extremes_of_a_field_come_back_as_they_were_sent(
    client: AsyncClient, resource: Resource, name: str
) -> None:
    for value in map(shown, extremes(resource.fields[name].type)):
        created = await resource.add(client, **{name: value})
        read = await client.get(created.headers["location"])
        patched = await client.patch(created.headers["location"], json={name: value})

        assert created.json()[name] == read.json()[name] == patched.json()[name] == value


@pytest.mark.parametrize(("resource", "name"), OTHERS)
async def test_what_is_no_value_of_a_field_is_refused(
    client: AsyncClient, resource: Resource, name: str
) -> None:
    created = await resource.add(client)

    for value in invalid(resource.fields[name].type):
        for method, url in (("POST", ""), ("PATCH", "/1")):
            answer = await client.request(
                method,
                resource.path + url,
                content=json.dumps(resource.body(**{name: value})),
                headers={"Content-Type": "application/json"},
            )
            errors = assert_problem(answer, 422, "validation")["errors"]
            assert {error["pointer"].split("/")[1] for error in errors} == {name}, value
    assert resource.rows(await resource.page(client)) == [created.json()]


JSON = {"Content-Type": "application/json"}
ANSWERS: list[tuple[int, str, str, dict[str, Any]]] = [
    (200, "GET", "", {}),
    (200, "GET", "/1", {}),
    (200, "PUT", "/1", {"json": "a body"}),
    (200, "PATCH", "/1", {"json": {}}),
    (201, "POST", "", {"json": "a body"}),
    (204, "DELETE", "/1", {}),
    (204, "OPTIONS", "", {}),
    (304, "GET", "", {"headers": {"If-None-Match": "*"}}),
    (304, "GET", "/1", {"headers": {"If-None-Match": "*"}}),
    (400, "GET", "?after=x", {}),
    (400, "GET", "/1", {"headers": {"If-None-Match": "x"}}),
    (400, "DELETE", "/1", {"headers": {"If-Match": "x"}}),
    (400, "POST", "", {"content": "{", "headers": JSON}),
    (404, "GET", "/2", {}),
    (404, "GET", "/1/2", {}),
    (404, "OPTIONS", "/1/2", {}),
    (405, "DELETE", "", {}),
    (405, "TRACE", "/1", {}),
    (412, "PUT", "/1", {"json": "a body", "headers": {"If-Match": '"x"'}}),
    (413, "POST", "", {"content": b" " * 65537, "headers": JSON}),
    (415, "POST", "", {"content": "{}"}),
    (422, "POST", "", {"json": {}}),
    (422, "GET", "/x", {}),
    (422, "GET", "?limit=0", {}),
]


@pytest.mark.parametrize(("status", "method", "path", "options"), ANSWERS)
async def test_every_answer_has_the_headers_of_all(
    client: AsyncClient,
    resource: Resource,
    status: int,
    method: str,
    path: str,
    options: dict[str, Any],
) -> None:
    await resource.add(client)
    if options.get("json") == "a body":
        options = options | {"json": resource.body()}

    answer = await client.request(method, resource.path + path, **options)

    assert answer.status_code == status
    assert_headers(answer)
    if status >= 400:
        assert_problem(answer, status)
    else:
        assert (status in {204, 304}) == (not answer.content)
        assert ("etag" in answer.headers) == (status != 204)
    if answer.content:
        policy = "default-src 'none'; frame-ancestors 'none'"
        assert answer.headers["content-security-policy"] == policy
        assert int(answer.headers["content-length"]) == len(answer.content)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "application/json"),
        ("/ping", "application/json"),
        ("/openapi.json", "application/json"),
        ("/docs", "text/html; charset=utf-8"),
        ("/docs/assets/0/swagger-ui.css", "text/css; charset=utf-8"),
    ],
)
async def test_the_answers_that_are_no_resource_have_the_headers_too(
    client: AsyncClient, path: str, kind: str
) -> None:
    answer = await client.get(path)

    assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
    assert_headers(answer)


@pytest.mark.parametrize("path", ["/nowhere", "/songs1", "/docs/assets", "/docs/assets/x"])
async def test_what_is_nowhere_fails_in_the_one_shape(client: AsyncClient, path: str) -> None:
    for method in ("GET", "OPTIONS", "BREW"):
        answer = await client.request(method, path)
        assert_problem(answer, 404, "not-found")
        assert_headers(answer)


def routes(app: FastAPI) -> list[Route]:
    """Return the routes of the service's own."""
    return [route for route in app.routes if isinstance(route, Route)]


def within(annotation: Any) -> Iterator[Any]:
    """Give an annotation, and all those that it is made of."""
    yield annotation
    for part in get_args(annotation):
        yield from within(part)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for field in annotation.model_fields.values():
            yield from within(field.annotation)


async def test_no_route_takes_or_returns_a_table(app: FastAPI) -> None:
    for route in routes(app):
        spoken = [route.response_model, *get_type_hints(route.endpoint).values()]
        tables = [part for type_ in spoken for part in within(type_) if hasattr(part, "__table__")]
        assert (route.path, tables) == (route.path, [])


async def test_every_handler_but_those_that_return_a_model_is_called_directly(app: FastAPI) -> None:
    for route in routes(app):
        returned = get_type_hints(route.endpoint)["return"]
        is_response = isinstance(returned, type) and issubclass(returned, Starlette)
        assert route.direct or not is_response, route.path


async def test_a_handler_is_one_line_of_documentation_and_six_lines_of_code(app: FastAPI) -> None:
    handlers = [route.endpoint for route in routes(app)]
    own = [handler for handler in handlers if handler.__module__.startswith(("app.", "songbook."))]
    assert len(own) > 6 * len(RESOURCES)

    for handler in own:
        [function] = ast.parse(dedent(inspect.getsource(handler))).body
        assert isinstance(function, ast.AsyncFunctionDef)
        documentation, first, *_ = function.body
        assert len((ast.get_docstring(function) or "").splitlines()) == 1
        assert documentation.end_lineno == documentation.lineno
        assert (function.end_lineno or 0) - first.lineno < 6, function.name
