"""The console of this service, in a browser; SCREENSHOTS=1 takes the pictures of the documents."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy.engine import URL

from app.commands import store_superuser
from tests.support.browser import (
    PASSWORD,
    PHONE,
    Tab,
    launched,
    needs_browser,
    said,
    sign_in,
)
from tests.support.databases import create_database, execute, spelled
from tests.support.marks import slow
from tests.support.paths import ROOT
from tests.support.services import SERVICE

pytestmark = [slow, needs_browser, pytest.mark.processes, pytest.mark.timeout(900)]

SONGS = (ROOT / "examples" / "songs.csv").read_text().splitlines()[:2000]
PICTURES = ROOT / "docs" / "console"
BYTES = 150_000
"""The most that a picture has."""


@pytest.fixture(scope="module")
def address(server: URL, template: URL) -> Iterator[str]:
    """Give the address of a process that serves songs, and has a superuser."""
    url = server.set(database=f"console_{secrets.token_hex(6)}")
    create_database(server, url.database, template.database)
    store_superuser(url, username="ada", email="ada@example.org", password=PASSWORD)
    with SERVICE.serving(DATABASE_URL=spelled(url)) as service:
        csv = "\n".join(SONGS)
        headers = {"Content-Type": "text/csv"}
        httpx.post(f"{service.address}/songs.csv", content=csv, headers=headers)
        httpx.post(f"{service.address}/todos", json={"content": "Tune the piano"})
        yield service.address
    execute(server, f'DROP DATABASE "{url.database}" WITH (FORCE)')


def picture(tab: Tab, name: str) -> None:
    """Check the view; take its picture, if that is asked for."""
    assert tab.violations() == []
    if os.environ.get("SCREENSHOTS") == "1":
        if tab.page.get_by_role("button", name="Dismiss").is_visible():
            tab.page.get_by_role("button", name="Dismiss").evaluate("each => each.click()")
        PICTURES.mkdir(exist_ok=True)
        tab.page.screenshot(path=PICTURES / f"{name}.png")


def test_the_console_shows_this_service(address: str, tmp_path: Path) -> None:
    with launched() as browser:
        options = {"viewport": {"width": 1000, "height": 640}, "timezone_id": "UTC"}
        tab = Tab(browser, address, **options)
        page = tab.open("/console")
        sign_in(page)
        page.get_by_role("navigation").get_by_role("link", name="Playlists", exact=True).click()
        page.get_by_role("link", name="New").click()
        page.get_by_label("Name").fill("For the road")
        page.get_by_role("button", name="Save").click()
        page.get_by_role("heading", name="Playlists: For the road").wait_for()
        said(page, "Saved.")
        page.get_by_role("link", name="Entries").click()
        page.get_by_role("heading", name="Entries").wait_for()
        list_a_song(tab)
        for view in ("users", "users/1", "playlists/public", "todos"):
            tab.open("/console#/")
            tab.open(f"/console#/{view}")
            assert tab.violations() == [], view

        tab.open("/console#/songs?q=love&year_gte=1970&sort=-year")
        picture(tab, "list")
        conflict(tab, address)
        import_with_mistakes(tab, tmp_path)
        tab.check()
        phone = Tab(browser, address, viewport=PHONE, color_scheme="dark", device_scale_factor=2)
        phone.open("/console#/songs?sort=-year")
        picture(phone, "phone")
        phone.check()
    for path in PICTURES.iterdir():
        assert path.stat().st_size < BYTES


def list_a_song(tab: Tab) -> None:
    """Add a song to a playlist, and move it."""
    page = tab.page
    page.get_by_role("link", name="New").click()
    page.get_by_role("button", name="Save").click()
    page.get_by_text("Field required", exact=True).wait_for()
    page.get_by_role("button", name="Choose Song…").click()
    page.get_by_label("Words").fill("fantasy girl")
    page.get_by_role("button", name="Fantasy Girl (2)").click()
    page.get_by_role("button", name="Save").click()
    said(page, "Saved.")
    page.get_by_role("link", name="Fantasy Girl").wait_for()
    assert tab.violations() == []
    page.get_by_role("link", name="1", exact=True).click()
    page.get_by_label("Position").fill("7")
    token = page.evaluate("Object.values(sessionStorage)[0]")
    entry = tab.address + page.url.partition("#")[2]
    httpx.patch(entry, json={"position": 3}, headers={"Authorization": f"Bearer {token}"})
    page.get_by_role("button", name="Save").click()  # although an entry has no entity tag
    page.get_by_label("Position as you want it").wait_for()
    page.get_by_role("button", name="Save as you want it").click()
    said(page, "Saved.")
    tab.settle()  # it is read again
    page.get_by_role("link", name="Back to the list").click()
    page.get_by_role("cell", name="7", exact=True).wait_for()


def conflict(tab: Tab, address: str) -> None:
    """Show two editors of one song."""
    page = tab.open("/console#/songs/2")
    page.get_by_label("Year").fill("1982")
    httpx.patch(f"{address}/songs/2", json={"name": "Fantasy Girl (live)"})
    page.get_by_role("button", name="Save").click()
    page.get_by_role("dialog").wait_for()
    picture(tab, "conflict")
    page.get_by_role("button", name="Save as you want it").click()
    said(page, "Saved.")
    stored = httpx.get(f"{address}/songs/2").json()
    assert (stored["name"], stored["year"]) == ("Fantasy Girl (live)", 1982)


def import_with_mistakes(tab: Tab, folder: Path) -> None:
    """Show the report of a dry run."""
    file = folder / "cities.csv"
    file.write_text("name,population\nTromsø,77992\nHammerfest,many\n,5807\nBodø,53712\n")
    page = tab.open("/console#/cities/import")
    page.get_by_label("File").set_input_files(file)
    page.get_by_role("button", name="Import the other 2 rows").wait_for()
    picture(tab, "import")
