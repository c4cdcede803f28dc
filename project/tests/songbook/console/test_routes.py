"""The page and the files of the console."""

import re
import shutil
import subprocess
from html import unescape
from importlib.resources import files

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from songbook.application import create_app
from songbook.config import Settings
from tests.support.asserts import assert_problem
from tests.support.clients import client_of
from tests.support.marks import slow
from tests.support.paths import PROJECT
from tests.support.waiting import PATIENCE

STATIC = PROJECT / "songbook" / "console" / "static"
SCRIPTS = sorted(STATIC.glob("*.js"))
BYTES = 40_000


def linked(page: str) -> list[str]:
    return [link for link in re.findall(r'(?:href|src)="([^"]+)"', page) if "/assets/" in link]


async def test_the_page_loads_the_files_of_this_version_and_nothing_else(
    client: AsyncClient,
) -> None:
    page = await client.get("/console")

    policy = page.headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'"} < {
        *policy
    }
    assert "unsafe" not in page.headers["content-security-policy"]
    assert "base-uri 'none'" in policy
    assert "<script>" not in page.text
    assert " style=" not in page.text
    for link in linked(page.text):
        answer = await client.get(link)
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        other = re.sub(r"/assets/\w+/", "/assets/0/", link)
        old = await client.get(other)  # a page of another release asks for it
        assert (old.content, old.headers["cache-control"]) == (answer.content, "no-cache")
    assert [link.rpartition("/")[2] for link in linked(page.text)] == ["console.css", "console.js"]
    for path in ("/console/assets/0/index.html", "/console/assets/0/x.js", "/console/assets/0"):
        assert_problem(await client.get(path), 404)


async def test_files_are_sent_compressed_to_clients_that_can_read_it(app: FastAPI) -> None:
    source = (STATIC / "console.js").read_bytes()
    for accepted, is_compressed in (
        ("gzip, br", True),
        ("identity", False),
        ("gzip;q=0", False),
    ):
        client = client_of(app, **{"Accept-Encoding": accepted})
        answer = await client.get("/console/assets/0/console.js")
        assert answer.content == source
        assert (int(answer.headers["content-length"]) < len(source) / 2) is is_compressed
        assert answer.headers["vary"] == "Accept-Encoding"
        assert answer.headers["content-type"].startswith("text/javascript")
        assert ("content-encoding" in answer.headers) is is_compressed


async def test_below_a_prefix_the_page_links_below_it(app: FastAPI) -> None:
    transport = ASGITransport(app, root_path="/music")
    async with AsyncClient(transport=transport, base_url="http://songbook") as client:
        page = await client.get("/music/console")
        [style, _] = linked(page.text)
        assert style.startswith("/music/console/assets/")
        assert 'href="/music/docs"' in page.text
        assert (await client.get(style)).status_code == 200


async def test_every_service_has_it_and_its_name_is_text() -> None:
    name = "R&D's </title><script>alert(1)</script>"
    page = await client_of(create_app(Settings(public_docs=False), [], title=name)).get("/console")

    [title] = re.findall("<title>(.*)</title>", page.text)
    assert unescape(title) == name
    assert "<script>" not in page.text
    assert "/docs" not in page.text


async def test_a_service_without_the_console_has_no_page_and_no_link_to_it() -> None:
    browser = client_of(create_app(Settings(console=False), []), Accept="text/html")

    for path in ("/console", "/console/assets/0/console.js"):
        assert_problem(await browser.get(path), 404)
    for path in ("/", "/docs"):
        page = await browser.get(path)
        assert (page.status_code, "onsole" in page.text) == (200, False)


def test_the_scripts_are_small_and_write_no_html() -> None:
    assert sum(len(path.read_bytes()) for path in SCRIPTS) <= BYTES
    for path in SCRIPTS:
        text = path.read_text("utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", text)
        assert "http://" not in text
        assert "localStorage" not in text


def test_the_scripts_name_no_resource_of_the_services() -> None:
    names = re.compile(r"\b(songs?|cit(y|ies)|playlists?|todos?|books?|novels?|towns?)\b")
    for path in SCRIPTS:
        assert not names.search(path.read_text("utf-8")), path


def test_the_files_are_part_of_the_package() -> None:
    assert files("songbook.console").joinpath("static", "index.html").is_file()


@slow
@pytest.mark.processes
@pytest.mark.skipif(shutil.which("npm") is None, reason="needs npm")
def test_the_types_of_the_scripts_fit() -> None:
    """TypeScript comes from npm, and checks the scripts as they are served."""
    tsc = ["npm", "exec", "--yes", "--package", "typescript@5.9.3", "--", "tsc"]
    checked = subprocess.run(
        [*tsc, "-p", str(STATIC)], capture_output=True, text=True, check=False, timeout=PATIENCE
    )

    if "npm error" in checked.stderr:
        pytest.skip("npm cannot get TypeScript")
    assert checked.returncode == 0, checked.stdout
