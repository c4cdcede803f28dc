"""The documentation's page, which works without the Internet."""

import re
from base64 import b64encode
from collections.abc import AsyncIterator
from hashlib import sha256
from html import unescape

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from sqlalchemy.engine import URL

from songbook.application import create_app
from songbook.config import Settings
from tests.samples.main import create_app as create_samples
from tests.samples.settings import Settings as SampleSettings
from tests.support.asserts import assert_problem
from tests.support.clients import client_of, sign_in
from tests.support.databases import spelled


@pytest.mark.parametrize("address", ["/docs", "/docs/"])
async def test_the_page_takes_everything_from_the_service_itself(
    client: AsyncClient, address: str
) -> None:
    page = await client.get(address)

    linked = re.findall(r'(?:href|src)="([^"]+)"', page.text)
    assert len(linked) == 3
    for link in linked:
        assert link.startswith("/docs/assets/")
        assert (await client.get(link)).status_code == 200
    assert "url: '/openapi.json'" in page.text


async def test_the_policy_lets_the_page_run_its_own_script_and_no_other(
    client: AsyncClient,
) -> None:
    page = await client.get("/docs")

    [script] = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
    digest = b64encode(sha256(script.encode()).digest()).decode()
    [allowed] = re.findall(r"script-src ([^;]+);", page.headers["content-security-policy"])
    assert allowed == f"'self' 'sha256-{digest}'"


async def test_the_page_is_the_same_at_its_alias_and_takes_its_own_address(app: FastAPI) -> None:
    """What the document refers to is relative to that address, as where to ask for a token."""
    transport = ASGITransport(app)
    async with AsyncClient(transport=transport, base_url="http://songbook") as client:
        page, alias = await client.get("/docs"), await client.get("/api/docs")

    assert (alias.status_code, alias.text) == (200, page.text)
    assert "history.replaceState(null, '', '/docs' + location.hash);" in page.text
    flows = app.openapi()["components"]["securitySchemes"]["password"]["flows"]
    assert flows["password"]["tokenUrl"] == "api/auth/token"


async def test_under_a_prefix_the_page_links_below_it(app: FastAPI) -> None:
    transport = ASGITransport(app, root_path="/music")
    async with AsyncClient(transport=transport, base_url="http://songbook") as client:
        page = await client.get("/music/docs")

    assert 'src="/music/docs/assets/' in page.text
    assert "url: '/music/openapi.json'" in page.text


@pytest.fixture
async def closed(database_url: URL) -> AsyncIterator[FastAPI]:
    """Give the samples' service with PUBLIC_DOCS=false."""
    app = create_samples(SampleSettings(database_url=spelled(database_url), public_docs=False))
    async with app.router.lifespan_context(app):
        yield app


async def test_closed_documentation_is_for_users_alone(
    client: AsyncClient, closed: FastAPI
) -> None:
    nobody, user = client_of(closed), await sign_in(closed, is_superuser=False)
    for path in ("/docs", "/docs/assets/swagger-ui.css", "/api/docs"):
        for headers in ({}, {"Authorization": user}):
            assert_problem(await nobody.get(path, headers=headers), 404)
        assert (await client.get(path)).status_code == 200

    for headers in ({}, {"Authorization": "Bearer x"}):
        assert_problem(await nobody.get("/openapi.json", headers=headers), 401)
    document = await nobody.get("/openapi.json", headers={"Authorization": user})
    assert (document.status_code, document.headers["cache-control"]) == (200, "no-store")
    assert document.json() == (await client.get("/openapi.json")).json()
    assert (await nobody.options("/openapi.json")).headers["allow"] == "GET, HEAD, OPTIONS"


async def test_closed_documentation_of_a_service_without_accounts_is_for_nobody() -> None:
    app = create_app(Settings(public_docs=False), [])

    for path in ("/docs", "/openapi.json"):
        assert_problem(await client_of(app).get(path), 404)
        assert (await client_of(create_app(Settings(), [])).get(path)).status_code == 200


async def test_the_name_of_the_service_is_a_text_and_no_markup() -> None:
    name = "R&D's </title><script>alert(1)</script>"
    app = create_app(Settings(), [], title=name)
    async with AsyncClient(transport=ASGITransport(app), base_url="http://songbook") as client:
        page = await client.get("/docs")

    [title] = re.findall("<title>(.*)</title>", page.text)
    assert unescape(title) == name
    assert page.text.count("<script>") == 1
    [allowed] = re.findall(r"script-src ([^;]+);", page.headers["content-security-policy"])
    assert allowed.count("sha256-") == 1
