"""The index at `/`: JSON for a program, as in the tutorial, and a page for a browser."""

import re

from httpx import AsyncClient

from tests.support.asserts import assert_headers


async def test_a_browser_gets_a_page_and_a_program_the_index(client: AsyncClient) -> None:
    page = await client.get("/", headers={"Accept": "text/html,application/xml;q=0.9,*/*;q=0.8"})
    index = await client.get("/")

    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert index.json()["message"] == "Hello World"
    for answer in (page, index):
        assert answer.headers["vary"] == "Accept"
        assert_headers(answer)
    linked = re.findall(r'<td><a href="([^"]+)">', page.text)
    assert linked == sorted(index.json()["resources"])


async def test_all_accept_headers_select_the_page(client: AsyncClient) -> None:
    accepted = [("Accept", "image/png"), ("Accept", "text/html")]

    page = await client.get("/", headers=accepted)

    assert page.headers["content-type"].startswith("text/html")
