"""The documentation's page, which works without the Internet."""

import json
import re
from collections.abc import AsyncIterator
from html import unescape
from importlib.resources import files

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
from tests.support.paths import ROOT


def linked(page: str) -> list[str]:
    return re.findall(r'(?:href|src)="([^"]+)"', page)


@pytest.mark.parametrize("address", ["/docs", "/docs/"])
async def test_the_page_takes_everything_from_the_service_itself(
    client: AsyncClient, address: str
) -> None:
    page = await client.get(address)

    links = linked(page.text)
    assert {"/openapi.json", "/favicon.ico", "/docs", "/console", "/"} < {*links}
    for link in links:
        answer = await client.get(link)
        assert answer.status_code == 200
        if link.startswith("/docs/assets/"):
            assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
            assert answer.headers["vary"] == "Accept-Encoding"
    names = [link.rpartition("/")[2] for link in links if "/assets/" in link]
    assert names == ["swagger-ui.css", "docs.css", "swagger-ui-bundle.js", "docs.js"]


async def test_the_policy_lets_the_page_run_its_own_scripts_and_no_other(
    client: AsyncClient,
) -> None:
    page = await client.get("/docs")

    policy = dict(
        part.split(" ", 1) for part in page.headers["content-security-policy"].split("; ")
    )
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert "<script>" not in page.text
    assert " style=" not in page.text


async def test_the_page_is_the_same_at_its_alias_and_takes_its_own_address(app: FastAPI) -> None:
    """What the document refers to is relative to that address, as where to ask for a token."""
    transport = ASGITransport(app)
    async with AsyncClient(transport=transport, base_url="http://songbook") as client:
        page, alias = await client.get("/docs"), await client.get("/api/docs")

    assert (alias.status_code, alias.text) == (200, page.text)
    assert '<link rel="canonical" href="/docs">' in page.text
    flows = app.openapi()["components"]["securitySchemes"]["password"]["flows"]
    assert flows["password"]["tokenUrl"] == "api/auth/token"


async def test_under_a_prefix_the_page_links_below_it(app: FastAPI) -> None:
    transport = ASGITransport(app, root_path="/music")
    async with AsyncClient(transport=transport, base_url="http://songbook") as client:
        page = await client.get("/music/docs")
        links = linked(page.text)
        assert all(link.startswith("/music/") for link in links)
        assert {(await client.get(link)).status_code for link in links} == {200}


async def test_swagger_ui_is_sent_as_it_was_published_in_the_version_that_npm_is_asked_for(
    app: FastAPI,
) -> None:
    package = json.loads((ROOT / "tools" / "swagger-ui" / "package.json").read_text())
    version = package["dependencies"]["swagger-ui-dist"]
    bundles = []
    for accepted, most in (("gzip", 600_000), ("identity", 3_000_000)):
        client = client_of(app, **{"Accept-Encoding": accepted})
        answer = await client.get("/docs/assets/0/swagger-ui-bundle.js")
        assert int(answer.headers["content-length"]) < most
        bundles.append(answer.text)
    assert bundles[0] == bundles[1]
    assert f'PACKAGE_VERSION:"{version}"' in bundles[0]
    for name in ("LICENSE", "NOTICE", "swagger-ui-bundle.js.LICENSE.txt"):
        assert files("songbook.openapi").joinpath("static", name).is_file()


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
    for path in ("/docs", "/docs/assets/0/swagger-ui.css", "/api/docs"):
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
    assert "<script>" not in page.text
