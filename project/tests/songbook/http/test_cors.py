"""Pages of other origins: nothing unless the settings name them, and never with credentials."""

from collections.abc import AsyncIterator, Callable

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient, Response
from sqlalchemy.engine import URL

from tests.samples.main import create_app
from tests.samples.settings import Settings
from tests.support.asserts import assert_headers, assert_problem
from tests.support.databases import spelled

FRIEND, STRANGER = "https://shop.example.org", "https://evil.example"

Connect = Callable[[str], AsyncClient]


@pytest.fixture
async def connect(app: FastAPI, database_url: URL) -> AsyncIterator[Connect]:
    """Give what makes a client of a service that pages of these origins may ask."""
    made: list[AsyncClient] = []

    def to(origins: str) -> AsyncClient:
        other = create_app(Settings(database_url=spelled(database_url), cors_origins=origins))
        other.state.service.database = app.state.service.database
        made.append(AsyncClient(transport=ASGITransport(other), base_url="http://songbook"))
        return made[-1]

    yield to
    for client in made:
        await client.aclose()


def preflight(method: str, headers: str, origin: str = FRIEND) -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": headers,
    }


def told(answer: Response) -> dict[str, str]:
    """Return what an answer tells a browser about other origins."""
    return {
        name: value for name, value in answer.headers.items() if name.startswith("access-control-")
    }


async def test_without_the_setting_no_page_of_another_origin_is_let_in(client: AsyncClient) -> None:
    for answer in (
        await client.get("/books", headers={"Origin": FRIEND}),
        await client.options("/books", headers=preflight("POST", "content-type")),
    ):
        assert told(answer) == {}


async def test_a_page_of_a_named_origin_may_read_answers_and_their_headers(
    connect: Connect,
) -> None:
    client = connect(f"{FRIEND},https://other.example")

    answer = await client.get("/books", headers={"Origin": FRIEND})

    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == FRIEND
    exposed = answer.headers["access-control-expose-headers"].split(", ")
    assert {"ETag", "Link", "X-Next-Cursor", "Content-Disposition"} <= {*exposed}
    assert answer.headers["vary"] == "Accept, Origin"
    assert_headers(answer)


async def test_a_page_of_a_named_origin_may_send_every_method_with_a_token(
    connect: Connect,
) -> None:
    client = connect(FRIEND)

    for method in ("POST", "PUT", "PATCH", "DELETE"):
        asked = preflight(method, "authorization,content-type,if-match")
        answer = await client.options("/books", headers=asked)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (204, FRIEND)
        assert answer.headers["allow"] == "GET, HEAD, OPTIONS, POST"
        assert method in answer.headers["access-control-allow-methods"]
        assert_headers(answer)


async def test_a_failure_is_readable_for_a_named_origin_too(connect: Connect) -> None:
    client = connect(FRIEND)

    for path, status in (
        ("/books/0", 404),
        ("/nowhere", 404),
        ("/books?x=1", 422),
        ("/members", 401),
    ):
        answer = await client.get(path, headers={"Origin": FRIEND})
        assert_problem(answer, status)
        assert answer.headers["access-control-allow-origin"] == FRIEND
        assert_headers(answer)


async def test_a_page_of_another_origin_is_told_nothing(connect: Connect) -> None:
    client = connect(FRIEND)

    read = await client.get("/books", headers={"Origin": STRANGER})
    asked = await client.options("/books", headers=preflight("POST", "content-type", STRANGER))

    assert "access-control-allow-origin" not in read.headers
    assert "access-control-allow-origin" not in asked.headers
    assert asked.status_code == 204
    assert told(asked) == {}


@pytest.mark.parametrize("origins", [FRIEND, "*", f"*,{FRIEND}"])
async def test_no_origin_may_send_what_a_browser_keeps(connect: Connect, origins: str) -> None:
    client = connect(origins)

    for answer in (
        await client.get("/books", headers={"Origin": FRIEND, "Cookie": "a=b"}),
        await client.options("/books", headers=preflight("POST", "authorization")),
    ):
        assert "access-control-allow-credentials" not in answer.headers
        assert answer.headers["access-control-allow-origin"] == ("*" if "*" in origins else FRIEND)
