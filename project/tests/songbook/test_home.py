"""The page at `/`: HTML for a browser, JSON for a program, and the icon beside it."""

import re
import struct
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
from tests.samples import resources
from tests.samples.resources.members import Member
from tests.samples.settings import Settings as SampleSettings
from tests.support.asserts import assert_headers
from tests.support.clients import client_of
from tests.support.databases import execute, spelled
from tests.support.processes import NOWHERE

BROWSER = {
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,"
    "*/*;q=0.8"
}
"""What browsers send when they follow a link."""


def create_service(url: str, *, public_docs: bool = True) -> FastAPI:
    """Return a service of the samples' resources, which has no `/` of its own."""
    return create_app(
        SampleSettings(database_url=url, housekeeping=False, public_docs=public_docs),
        resources.routers(),
        accounts=Member,
        title="R&D's <b>",
        version="7",
    )


@pytest.fixture
async def home(client: AsyncClient, database_url: URL) -> AsyncIterator[AsyncClient]:
    """Give a client, as a browser, of a service without a `/` of its own; its tables are empty."""
    assert client
    app = create_service(spelled(database_url))
    async with app.router.lifespan_context(app), client_of(app, **BROWSER) as browser:
        yield browser


def amounts(page: str) -> dict[str, str]:
    """Return what a page says of the records of each resource."""
    return dict(re.findall(r'<tr><td><a href="[^"]+">([^<]+)</a></td><td>([^<]+)</td>', page))


async def test_a_browser_gets_a_page_whose_links_all_lead_somewhere(home: AsyncClient) -> None:
    page = await home.get("/")

    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert page.headers["vary"] == "Accept"
    assert_headers(page)
    assert len(page.content) < 6000
    links = re.findall(r'href="([^"]+)"', page.text)
    assert {"/books", "/docs", "/openapi.json", "/readyz", "/favicon.ico"} < set(links)
    statuses = {link: (await home.get(link)).status_code for link in links}
    told = amounts(page.text)
    assert [link for link, status in statuses.items() if status != 200] == [
        path for path, amount in told.items() if amount == "for signed-in users"
    ]


async def test_the_page_can_be_read_aloud_and_runs_nothing(home: AsyncClient) -> None:
    page = await home.get("/")

    assert page.text.startswith('<!doctype html>\n<html lang="en">')
    assert [page.text.count(f"<{tag}>") for tag in ("main", "h1", "script")] == [1, 1, 0]
    assert '<meta name="color-scheme" content="light dark">' in page.text
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page.text
    [title] = re.findall("<title>(.*)</title>", page.text)
    assert (unescape(title), "<b>" in page.text) == ("R&D's <b>", False)
    [style] = re.findall("<style>(.*)</style>", page.text)
    digest = b64encode(sha256(style.encode()).digest()).decode()
    assert page.headers["content-security-policy"] == (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


async def test_the_page_counts_only_what_everyone_may_list(
    home: AsyncClient, database_url: URL
) -> None:
    execute(database_url, "TRUNCATE book CASCADE")
    empty = amounts((await home.get("/")).text)
    rows = "INSERT INTO book (name, author) SELECT 'x', 'y' FROM generate_series(1, 1234)"
    execute(database_url, rows, "ANALYZE book")
    counted = amounts((await home.get("/")).text)

    assert (empty["/books"], counted["/books"]) == ("none", "about 1,234")
    assert counted["/members"] == "for signed-in users"
    for path, amount in counted.items():
        seen = await home.get(path)
        is_private = seen.headers["cache-control"].startswith("private")
        is_counted = amount not in {"for signed-in users", "depends on the user"}
        assert is_counted == (seen.status_code == 200 and not is_private), path


async def test_a_table_that_was_never_analyzed_is_counted_by_the_statistics(
    home: AsyncClient, database_url: URL
) -> None:
    execute(database_url, "TRUNCATE book CASCADE")  # which forgets what was known
    for name in "ab":
        await home.post("/books", json={"name": name, "author": "x"})
    execute(database_url, "SELECT pg_stat_force_next_flush()")

    assert amounts((await home.get("/")).text)["/books"] in {"about 2", "unknown"}


@pytest.mark.parametrize(
    "accept", ["*/*", "", "application/json", "text/html;q=0.5, */*", "text/html, application/json"]
)
async def test_a_program_gets_json(home: AsyncClient, accept: str) -> None:
    answer = await home.get("/", headers={"Accept": accept})

    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["vary"] == "Accept"
    told = answer.json()
    assert "/books" in told.pop("resources")
    assert told == {"name": "R&D's <b>", "version": "7", "documentation": "/docs"}


async def test_the_page_is_there_while_the_database_is_away() -> None:
    app = create_service(NOWHERE)
    async with app.router.lifespan_context(app), client_of(app, **BROWSER) as browser:
        page = await browser.get("/")

    assert page.status_code == 200
    assert "The database does not respond at the moment." in page.text
    assert amounts(page.text)["/books"] == "unknown"


async def test_the_page_names_no_document_that_is_closed() -> None:
    app = create_service(NOWHERE, public_docs=False)
    page = await client_of(app, **BROWSER).get("/")

    assert "/docs" not in page.text
    assert "/openapi.json" not in page.text
    assert (await client_of(app).get("/")).json()["documentation"] is None


async def test_under_a_prefix_the_page_links_below_it() -> None:
    transport = ASGITransport(create_service(NOWHERE), root_path="/shelf")
    async with AsyncClient(transport=transport, base_url="http://songbook") as client:
        page = await client.get("/shelf/", headers=BROWSER)

    links = re.findall(r'href="([^"]+)"', page.text)
    assert len(links) > 5
    assert [link for link in links if not link.startswith("/shelf/")] == []


async def test_a_service_keeps_its_own_page(client: AsyncClient) -> None:
    """That of the samples responds with JSON to everyone."""
    assert (await client.get("/", headers=BROWSER)).json() == {"message": "Hello World"}


async def test_a_service_without_resources_has_a_page_too() -> None:
    page = await client_of(create_app(Settings(), []), **BROWSER).get("/")

    assert "<table>" not in page.text
    assert 'href="/readyz"' in page.text


async def test_a_browser_finds_an_icon_and_keeps_it(client: AsyncClient) -> None:
    icon = await client.get("/favicon.ico")

    assert (icon.status_code, icon.headers["content-type"]) == (200, "image/x-icon")
    assert_headers(icon, "public, max-age=604800, immutable")
    images, width, height, size, offset = struct.unpack("<4xH2B6xII", icon.content[:22])
    assert (images, width, height, offset + size) == (1, 16, 16, len(icon.content))
    assert (await client.head("/favicon.ico")).status_code == 200
    assert "/favicon.ico" not in (await client.get("/openapi.json")).json()["paths"]


async def test_the_page_does_not_tell_how_many_records_were_deleted(
    home: AsyncClient, database_url: URL
) -> None:
    rows = "INSERT INTO note (content, deleted_at) SELECT 'x', now() FROM generate_series(1, 1234)"
    execute(database_url, rows, "ANALYZE note")

    page = await home.get("/")

    assert amounts(page.text)["/notes"] == "unknown"
