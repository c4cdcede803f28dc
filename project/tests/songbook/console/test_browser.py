"""The console in a browser, on a process that serves the samples."""

import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy.engine import URL

from tests.support.browser import (
    PASSWORD,
    PHONE,
    Tab,
    cells,
    launched,
    needs_browser,
    said,
    sign_in,
    until,
)
from tests.support.copies import copied_samples
from tests.support.databases import create_database, execute, spelled
from tests.support.marks import slow
from tests.support.processes import Service, ended_at_last, free_port
from tests.support.services import SAMPLES

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Route

pytestmark = [slow, needs_browser, pytest.mark.processes, pytest.mark.timeout(900)]

FORGE_TOKEN = """
import(document.scripts[0].src.replace('console.js', 'api.js'))
.then(({session}) => { session.token = 'expired'; })
"""
HOSTILE = "<img src=x onerror=alert(1)>\"'><script>alert(2)</script>"


class Site:
    """A process that serves, and the browser whose tabs show it."""

    def __init__(self, address: str, browser: "Browser", url: URL | None = None) -> None:
        self.address = address
        self.url = url
        self.browser = browser
        self.client = httpx.Client(base_url=address)

    def fill(self) -> None:
        """Store sixty books."""
        rows = [f"Book {n:02},{'Bob' if n % 2 else 'Eve'},{1950 + n}" for n in range(60)]
        csv = "\n".join(["name,author,year", *rows])
        self.client.post("/books.csv", content=csv, headers={"Content-Type": "text/csv"})

    def post(self, path: str, **fields: Any) -> dict[str, Any]:
        """Store a record; return it."""
        answer = self.client.post(path, json=fields)
        assert answer.status_code == 201, answer.text
        row: dict[str, Any] = answer.json()
        return row


@pytest.fixture(scope="module")
def site(server: URL, template: URL) -> Iterator[Site]:
    """Give a process that serves books and members, and a browser."""
    url = server.set(database=f"console_{secrets.token_hex(6)}")
    create_database(server, url.database, template.database)
    cheap = Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1)
    hashed = PasswordHash([cheap]).hash(PASSWORD)
    members = ", ".join(
        f"('{name}', '{name}@example.org', '{hashed}', {name == 'ada'}, 'reader', '{{}}')"
        for name in ("ada", "bob")
    )
    columns = "username, email, hashed_password, is_superuser, role, permissions"
    execute(url, f"INSERT INTO members ({columns}) VALUES {members}")
    with SAMPLES.serving(DATABASE_URL=spelled(url)) as service, launched() as browser:
        site = Site(service.address, browser, url)
        site.fill()
        yield site
        site.client.close()
    execute(server, f'DROP DATABASE "{url.database}" WITH (FORCE)')


@pytest.fixture
def tab(site: Site) -> Iterator[Tab]:
    """Give a tab; at the end nothing may have failed in it."""
    tab = Tab(site.browser, site.address)
    yield tab
    tab.check()
    tab.close()


def test_books_are_found_by_words_filters_order_and_pages(tab: Tab) -> None:
    page = tab.open("/console")
    page.get_by_role("navigation", name="Resources").get_by_role("link", name="Books").click()
    page.get_by_role("heading", name="Books").wait_for()
    assert len(cells(page, "Name")) == 25

    page.get_by_label("Filter").select_option("year_gte")
    page.get_by_label("Value").fill("1960")
    page.get_by_label("Words").fill("eve")
    page.get_by_role("button", name="Apply").click()
    page.get_by_role("button", name="Remove the filter: Year at least 1960").wait_for()
    assert cells(page, "Year")[0] == "1960"
    page.get_by_role("button", name="Year", exact=True).click()
    page.wait_for_selector("th[aria-sort=ascending]")
    page.get_by_role("button", name="Year ↑").click()
    page.wait_for_selector("th[aria-sort=descending]")
    assert cells(page, "Year")[:2] == ["2008", "2006"]
    assert page.evaluate("document.activeElement.id") == "sort-year"

    page.get_by_role("button", name="Count").click()
    said(page, "25 in all")
    page.get_by_role("button", name="Remove the filter").click()
    page.get_by_role("link", name="Next →").click()
    page.get_by_text("← Previous").wait_for()
    assert cells(page, "Year") == ["1958", "1956", "1954", "1952", "1950"]
    page.get_by_text("← Previous").click()
    page.get_by_role("link", name="Next →").wait_for()
    assert cells(page, "Year")[0] == "2008"


def test_a_filter_that_does_not_fit_is_told_and_corrected(tab: Tab) -> None:
    page = tab.open("/console#/books?q=eve&year_gte=soon")
    page.get_by_role("alert").get_by_text("Input should be a valid integer").wait_for()
    assert not tab.violations()
    page.get_by_role("button", name="Remove the filter: Year at least soon").click()
    page.get_by_role("link", name="Next →").wait_for()
    assert page.get_by_label("Words").input_value() == "eve"


def test_a_list_is_left_and_found_again_and_read_again(tab: Tab, site: Site) -> None:
    page = tab.open("/console#/books?author=Eve&sort=-year")
    page.get_by_role("link", name="Book 58").click()
    page.get_by_role("link", name="Back to the list").click()
    page.get_by_role("button", name="Remove the filter: Author equal to Eve").wait_for()
    assert cells(page, "Year")[0] == "2008"

    books = page.get_by_role("navigation", name="Resources").get_by_role("link", name="Books")
    books.click()
    page.get_by_role("link", name="Book 01").wait_for()
    row = site.client.get("/books", params={"name": "Book 01"}).json()[0]
    site.client.patch(f"/books/{row['id']}", json={"name": "Book 01, renamed"})
    books.click()
    page.get_by_role("link", name="Book 01, renamed").wait_for()
    site.client.patch(f"/books/{row['id']}", json={"name": "Book 01"})


def test_what_cannot_be_read_is_read_again_on_request(tab: Tab) -> None:
    page = tab.open("/console#/books")
    page.context.set_offline(offline=True)
    page.get_by_role("link", name="Book 00").click()
    page.get_by_text("The service cannot be reached.").wait_for()
    page.context.set_offline(offline=False)
    page.get_by_role("button", name="Try again").click()
    page.get_by_role("heading", name="Books: Book 00").wait_for()


def test_a_record_is_created_and_changed_and_errors_are_at_their_fields(
    tab: Tab, site: Site
) -> None:
    page = tab.open("/console#/books/new")
    page.get_by_label("Name").fill("Mine")
    page.get_by_label("Year").fill("later")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("alert").wait_for()

    year = page.get_by_label("Year")
    author = page.get_by_label("Author")
    assert author.get_attribute("aria-invalid") == "true"
    assert author.evaluate("each => each === document.activeElement")
    described = year.get_attribute("aria-describedby") or ""
    assert "integer" in page.locator(f"#{described.split()[1]}").inner_text()
    author.fill("Me")
    year.fill("1999")
    year.press("Enter")
    said(page, "Saved.")
    page.get_by_role("heading", name="Mine").wait_for()

    page.get_by_label("Year").fill("")
    page.get_by_role("button", name="Save").click()
    page.wait_for_selector("form[inert]", state="detached")
    [row] = site.client.get("/books", params={"name": "Mine"}).json()
    assert (row["author"], row["year"]) == ("Me", None)


def test_the_edits_of_two_editors_both_survive(site: Site) -> None:
    row = site.post("/books", name="Shared", author="Nobody", year=1900)
    tabs = [Tab(site.browser, site.address) for _ in range(2)]
    first, second = (each.open(f"/console#/books/{row['id']}") for each in tabs)
    first.get_by_label("Name").fill("Shared by two")
    second.get_by_label("Author").fill("Somebody")
    first.get_by_role("button", name="Save").click()
    said(first, "Saved.")
    second.get_by_role("button", name="Save").click()

    dialog = second.get_by_role("dialog", name="Somebody else has changed this meanwhile")
    dialog.wait_for()
    lines = [each.split("\t") for each in dialog.locator("tbody tr").all_inner_texts()]
    assert [[part.strip() for part in line] for line in lines] == [
        ["Name", "Shared", "Shared by two", "Shared by two"],
        ["Author", "Nobody", "Nobody", "Somebody"],
    ]
    assert not tabs[1].violations()
    dialog.get_by_role("button", name="Save as you want it").click()
    said(second, "Saved.")
    second.get_by_role("heading", name="Books: Shared by two").wait_for()  # it is read again
    assert second.get_by_label("Name").input_value() == "Shared by two"
    stored = site.client.get(f"/books/{row['id']}").json()
    assert (stored["name"], stored["author"]) == ("Shared by two", "Somebody")
    for each in tabs:
        each.check()
        each.close()


def test_of_two_edits_of_one_field_the_second_editor_decides(tab: Tab, site: Site) -> None:
    row = site.post("/books", name="Contested", author="Nobody", year=1900)
    page = tab.open(f"/console#/books/{row['id']}")
    page.get_by_label("Name").fill("Mine")
    site.client.patch(f"/books/{row['id']}", json={"name": "Theirs"})
    page.get_by_role("button", name="Save").click()
    page.get_by_role("button", name="Go on editing").click()
    page.locator("dialog").wait_for(state="detached")
    assert page.get_by_label("Name").input_value() == "Mine"
    page.get_by_role("button", name="Save").click()
    page.get_by_role("button", name="Take theirs").click()
    page.get_by_role("heading", name="Theirs").wait_for()
    assert page.get_by_label("Name").input_value() == "Theirs"
    assert page.evaluate("document.activeElement.id") == "save"

    site.client.patch(f"/books/{row['id']}", json={"year": 1902})
    for typed in ("Typed", "Nobody"):
        page.get_by_label("Author").fill(typed)
        page.once("dialog", lambda dialog: dialog.accept())  # not to leave
        page.get_by_role("button", name="Delete").click()
        said(page, "Not deleted. Somebody else has changed this meanwhile.")
        page.wait_for_selector("main:not([aria-busy])")
        assert page.get_by_label("Author").input_value() == typed
        page.get_by_role("button", name="Dismiss").click()
    assert page.get_by_label("Year").input_value() == "1902"


def test_the_second_editor_decides_field_by_field(tab: Tab, site: Site) -> None:
    row = site.post("/books", name="Opened", author="Opened", year=1900)
    page = tab.open(f"/console#/books/{row['id']}")
    for label, value in {"Name": "Second", "Author": "Second", "Year": "1901"}.items():
        page.get_by_label(label).fill(value)
    site.client.patch(f"/books/{row['id']}", json={"name": "First", "author": "First"})
    page.get_by_role("button", name="Save").click()

    dialog = page.get_by_role("dialog")
    dialog.get_by_role("combobox", name="Author").wait_for()
    assert dialog.get_by_role("combobox").count() == 2  # only one editor changed the year
    assert not tab.violations()
    dialog.get_by_role("combobox", name="Author").select_option(label="First")
    dialog.get_by_role("button", name="Save as you want it").click()
    said(page, "Saved.")
    page.get_by_role("heading", name="Books: Second").wait_for()
    stored = site.client.get(f"/books/{row['id']}").json()
    assert (stored["name"], stored["author"], stored["year"]) == ("Second", "First", 1901)
    assert page.get_by_label("Author").input_value() == "First"


def test_deleting_is_undone_and_superusers_find_and_restore(tab: Tab, site: Site) -> None:
    row = site.post("/notes", content="Remember")
    page = tab.open(f"/console#/notes/{row['id']}")
    for _ in range(2):
        page.once("dialog", lambda dialog: dialog.accept())
        page.get_by_role("button", name="Delete").click()
        said(page, "Deleted.")
        page.get_by_role("heading", name="Notes", exact=True).wait_for()
        assert site.client.get(f"/notes/{row['id']}").status_code == 404
        if page.get_by_label("Deleted").count():
            break
        page.get_by_role("button", name="Undo").click()
        said(page, "Restored.")
        assert page.get_by_label("Content").input_value() == "Remember"
        sign_in(page)

    page.get_by_label("Deleted").select_option("only")
    page.get_by_role("link", name="Remember").click()
    page.get_by_text("This record is deleted.").wait_for()
    assert not tab.violations()
    page.get_by_role("button", name="Restore").click()
    said(page, "Restored.")
    assert site.client.get(f"/notes/{row['id']}").status_code == 200


def test_references_are_links_and_are_picked(tab: Tab, site: Site) -> None:
    publisher = site.post("/publishers", name="Canongate", country="GB")
    site.post("/publishers", name="Faber", country="GB")
    page = tab.open("/console#/novels/new")
    page.get_by_label("Title").fill("Lanark")
    asked: list[Route] = []

    def hold_first(route: "Route") -> None:
        asked.append(route)
        if len(asked) > 1:
            route.continue_()

    page.route("**/publishers?*", hold_first)
    page.get_by_role("button", name="Choose Publisher…").click()
    until(page, lambda: asked)
    page.get_by_role("dialog").get_by_label("Words").press_sequentially("canon")
    asked[0].continue_()
    page.locator("dialog li:only-child").wait_for()
    assert len(asked) == 2  # a large table is not read once for each letter
    assert not tab.violations()
    page.get_by_role("button", name=f"Canongate ({publisher['id']})").click()
    page.get_by_text("Canongate").wait_for()
    page.get_by_role("button", name="Save").click()
    page.get_by_role("heading", name="Novels: Lanark").wait_for()
    said(page, "Saved.")

    page.get_by_role("link", name="Back to the list").click()
    page.get_by_role("heading", name="Novels", exact=True).wait_for()
    page.get_by_role("link", name="Canongate").click()
    page.get_by_role("heading", name="Canongate").wait_for()
    page.get_by_role("link", name="Novels: publisher").click()
    page.get_by_role(
        "button", name=f"Remove the filter: Publisher id equal to {publisher['id']}"
    ).wait_for()
    assert cells(page, "Title") == ["Lanark"]
    page.get_by_role("link", name="New").click()
    page.get_by_role("heading", name="New in novels").wait_for()
    assert page.get_by_role("textbox", name="Publisher").input_value() == str(publisher["id"])


def test_an_import_shows_its_mistakes_by_line_before_anything_is_stored(
    tab: Tab, site: Site, tmp_path: Path
) -> None:
    file = tmp_path / "towns.csv"
    file.write_text("id,name,population\n7,Bath,94782\n8,,1\n9,Ely,many\n")
    page = tab.open("/console#/towns/import")
    page.get_by_label("File").set_input_files(file)
    page.get_by_role("button", name="Import the other 1 rows").wait_for()
    assert cells(page, "Line") == ["3", "4"]
    assert cells(page, "Field") == ["Name", "Population"]
    assert not tab.violations()
    assert site.client.get("/towns").json() == []
    with page.expect_file_chooser():  # the same file, corrected, has to be a change
        page.get_by_label("File").click()
    assert page.get_by_label("File").input_value() == ""
    assert cells(page, "Line") == []
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("title,population\nBath,94782\n")
    page.get_by_label("File").set_input_files(wrong)
    page.get_by_text("Title: Unknown column").wait_for()
    page.get_by_label("File").set_input_files(file)

    page.get_by_role("button", name="Import the other 1 rows").click()
    said(page, "1 rows are imported, 2 are left out.")
    page.get_by_role("link", name="Bath").wait_for()
    file.write_text("name,population\nBath,95000\nEly,20112\n")
    page.get_by_role("link", name="Import").click()
    page.get_by_label("Rows that exist already").select_option("update")
    page.get_by_label("File").set_input_files(file)
    page.get_by_role("button", name="Import 2 rows").click()
    said(page, "2 rows are imported.")
    rows = {row["name"]: row["population"] for row in site.client.get("/towns").json()}
    assert rows == {"Bath": 95000, "Ely": 20112}


def test_rows_with_owners_are_shown_to_their_owner(tab: Tab) -> None:
    page = tab.open("/console#/folders")
    page.get_by_role("alert").get_by_role("button", name="Sign in").wait_for()
    assert page.get_by_role("link", name="New").count() == 0
    sign_in(page, "bob")
    resources = page.get_by_role("navigation", name="Resources")
    assert resources.get_by_role("link", name="Members").count() == 0  # for superusers
    page.get_by_role("link", name="New").click()
    page.get_by_label("Name").fill("Letters")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("heading", name="Folders: Letters").wait_for()
    said(page, "Saved.")
    page.get_by_role("link", name="Back to the list").click()
    page.get_by_text("Export").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV", exact=True).click()
    assert download.value.suggested_filename == "folders.csv"
    assert "Letters" in Path(download.value.path()).read_text()
    assert page.evaluate("Object.keys(localStorage).length + document.cookie.length") == 0
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("alert").get_by_role("button", name="Sign in").wait_for()
    assert page.evaluate("Object.values(sessionStorage).join('')") == ""


def test_what_is_typed_stays_when_the_session_has_ended(tab: Tab) -> None:
    page = tab.open("/console#/folders")
    sign_in(page, "bob")
    page.get_by_role("link", name="New").click()
    page.get_by_label("Name").fill("Kept")
    page.evaluate(FORGE_TOKEN)
    page.get_by_role("button", name="Save").click()
    page.get_by_role("alert").get_by_role("button", name="Sign in").wait_for()
    page.get_by_role("alert").get_by_role("button", name="Sign in").click()
    page.get_by_label("Name or e-mail").fill("bob")
    page.get_by_label("Password").fill("wrong")
    page.keyboard.press("Enter")
    page.get_by_text("Name or password is wrong.").wait_for()
    page.keyboard.type(PASSWORD)  # instead of the wrong one
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Sign out").wait_for()
    assert page.get_by_label("Name").input_value() == "Kept"
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.get_by_role("button", name="Sign out").click()
    assert page.get_by_label("Name").input_value() == "Kept"
    page.get_by_role("button", name="Save").click()
    said(page, "Saved.")


def test_everything_can_be_done_with_the_keyboard(tab: Tab, site: Site) -> None:
    row = site.post("/books", name="Aardvark", author="Zoe", year=3)
    page = tab.open("/console#/books?year_lt=10")

    def press_until(name: str, *keys: str) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.textContent || ''").startswith(name):
                break
        else:
            pytest.fail(f"{name} is not reached")
        for key in keys:
            page.keyboard.press(key)

    page.locator(".skip").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    assert page.url.endswith("/console#/books?year_lt=10")
    press_until("Export", "Enter")
    page.get_by_role("button", name="NDJSON").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="NDJSON").wait_for(state="hidden")
    press_until("Aardvark", "Enter")
    page.get_by_role("heading", name="Aardvark").wait_for()
    page.once("dialog", lambda dialog: dialog.dismiss())
    press_until("Delete", "Enter")
    assert page.evaluate("document.activeElement.textContent") == "Delete"
    page.get_by_label("Year").focus()
    page.keyboard.press("End")
    page.keyboard.type("1")
    held: list[Route] = []
    page.route("**/books/*", lambda route: held.append(route))  # noqa: PLW0108
    with page.expect_request("**/books/*"):
        page.keyboard.press("Enter")
    page.keyboard.type("2")  # while it is saved, and therefore nowhere
    assert page.get_by_label("Year").input_value() == "31"
    until(page, lambda: held)
    held[0].continue_()
    page.unroute("**/books/*")
    said(page, "Saved.")
    tab.settle()  # it is read again
    assert site.client.get(f"/books/{row['id']}").json()["year"] == 31
    assert page.evaluate("document.activeElement.id") == "field-year"
    page.get_by_label("Year").fill("4")
    page.once("dialog", lambda dialog: dialog.dismiss())
    press_until("Back to the list", "Enter")
    assert page.get_by_label("Year").input_value() == "4"


def test_hostile_names_are_text(tab: Tab, site: Site) -> None:
    row = site.post("/publishers", name=HOSTILE, country="GB")
    novel = site.post("/novels", title=HOSTILE + "!", publisher_id=row["id"])
    for path in ("publishers", f"publishers/{row['id']}", "novels", f"novels/{novel['id']}"):
        page = tab.open("/console")
        page = tab.open(f"/console#/{path}")
        page.get_by_text(HOSTILE).first.wait_for()
        assert page.locator("main img, main script").count() == 0
    site.client.patch(f"/novels/{novel['id']}", json={"title": f"{HOSTILE}?"})
    page.get_by_label("Title").fill("Tame")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("dialog").get_by_text(f"{HOSTILE}?").first.wait_for()
    assert page.locator("img").count() == 0
    page.get_by_role("button", name="Go on editing").click()
    page.get_by_role("button", name="Save").click()
    page.get_by_role("button", name="Save as you want it").click()
    said(page, "Saved.")


VIEWS = (
    "/console",
    "/console#/books?year_gte=1960&sort=-year",
    "/console#/books/1",
    "/console#/books/new",
    "/console#/books/import",
    "/console#/folders",
    "/console#/books/99999999",
    "/console#/nothing",
)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [None, PHONE], ids=["desktop", "phone"])
def test_axe_finds_nothing(site: Site, viewport: dict[str, int] | None, scheme: str) -> None:
    options: dict[str, Any] = {"color_scheme": scheme}
    if viewport:
        options["viewport"] = viewport
    tab = Tab(site.browser, site.address, **options)
    for path in VIEWS:
        page = tab.open("/console#/")
        page = tab.open(path)
        assert tab.violations() == [], path
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
    page.get_by_role("button", name="Sign in").first.click()
    page.get_by_role("dialog").wait_for()
    assert tab.violations() == []
    tab.check()
    tab.close()


@contextmanager
def below_music(site: Site, **environment: str) -> Iterator[Tab]:
    """Give a tab of another process on the same database, which a proxy serves at /music."""
    assert site.url
    port = free_port()
    address = f"http://localhost:{port}"
    options = ("--root-path", "/music", "--port", str(port), "--log-level", "error")
    service = Service(
        "uvicorn",
        "tests.samples.main:app",
        *options,
        DATABASE_URL=spelled(site.url),
        **environment,
    )
    with ended_at_last(service):
        service.answers(address)
        tab = Tab(site.browser, f"{address}/music")
        tab.page.route(
            re.compile(f"{address}/music/.*"),
            lambda route: route.continue_(url=route.request.url.replace("/music", "", 1)),
        )
        yield tab
        assert all("/music/" in url for url in tab.requested if url.startswith("http"))
        tab.address = address
        tab.check()
        tab.close()


def test_a_service_that_shows_its_document_to_users_asks_to_sign_in_first(site: Site) -> None:
    with below_music(site, PUBLIC_DOCS="false") as tab:
        page = tab.open("/console#/books")
        page.get_by_role("heading", name="Sign in").wait_for()
        assert page.get_by_role("navigation").get_by_role("link").count() == 0
        assert tab.violations() == []
        sign_in(page, "bob")
        page.get_by_role("heading", name="Books").wait_for()
        [kept] = page.evaluate("Object.keys(sessionStorage)")
        assert kept.endswith("/music")  # another service of this host is sent its own token only
        page.get_by_role("button", name="Sign out").click()
        page.get_by_role("heading", name="Sign in").wait_for()


def test_no_write_is_offered_where_writes_are_closed(site: Site) -> None:
    with below_music(site, CLOSED_WRITES="true") as tab:
        page = tab.open("/console#/books")
        page.get_by_role("link", name="Book 00").wait_for()
        for name in ("New", "Import"):
            assert page.get_by_role("link", name=name).count() == 0
        page.get_by_role("link", name="Book 00").click()
        page.get_by_text("Sign in to change it.").wait_for()
        for name in ("Save", "Delete"):
            assert page.get_by_role("button", name=name).count() == 0
        sign_in(page, "bob")
        page.get_by_role("button", name="Save").wait_for()


RECORDS = """
class Format(StrEnum):
    LP = "12-inch"
    CD = "cd"


class RecordingBase(Schema):
    \"\"\"The fields shared by requests, responses and the table.\"\"\"

    name: str = Field(default="", min_length=0)
    tracks: int = Field(default=10, ge=1, le=500)
    streams: int = Field(default=0, ge=0, le=10**18)
    is_cover: bool
    is_live: bool = False
    is_remaster: bool | None = None
    price: Decimal | None = Field(default=None, max_digits=20, decimal_places=2)
    loudness: float | None = None
    released: date
    recorded_at: datetime | None = None
    starts_at: time | None = None
    genre: Literal["rock", "pop"]
    format: Format | None = None
    tags: list[str]
    details: dict[str, Any] | None = None
    contact: Email | None = None
    comment: str | None = Field(default=None, max_length=5000)


class Recording(RecordingBase, Stored, table=True):
    \"\"\"The table.\"\"\"
"""


def write_recordings(copy: Path) -> None:
    """Add a resource to a copy of the samples: one module, like that of books."""
    resources = copy / "tests" / "samples" / "resources"
    books = (resources / "books.py").read_text()
    start, end = books.index("class BookBase("), books.index("class BookCreate(")
    text = f"{books[:start]}{RECORDS.lstrip()}\n\n{books[end:]}"
    text = text.replace("book", "recording").replace("Book", "Recording")
    text = text.replace("songrecording", "songbook").replace(
        "import Partial", "import Email, Partial"
    )
    types = (
        "from datetime import date, datetime, time\nfrom decimal import Decimal\n"
        "from enum import StrEnum\nfrom typing import Annotated, Any, Literal\n"
    )
    text = text.replace("from typing import Annotated\n", types)
    (resources / "recordings.py").write_text(text)


def test_a_new_resource_appears_without_a_line(
    site: Site, scratch_url: URL, tmp_path: Path
) -> None:
    copy = copied_samples(tmp_path)
    write_recordings(copy)
    environment = {"DATABASE_URL": spelled(scratch_url)}
    subprocess.run(
        [sys.executable, "-m", "tests.samples", "migrate"], cwd=copy, env=environment, check=True
    )
    service = Service("tests.samples", "serve", folder=copy, PORT="0", **environment)
    with ended_at_last(service):
        service.answers(service.said())
        tab = Tab(site.browser, service.address, timezone_id="America/New_York")
        fill_in_recording(tab)
        tab.check()
        tab.close()


def fill_in_recording(tab: Tab) -> None:
    """Create a record with a field of each type, and change one field of it."""
    page = tab.open("/console")
    page.get_by_role("link", name="Recordings").first.click()
    page.get_by_role("link", name="New").click()
    page.get_by_role("heading", name="New in recordings").wait_for()
    for label, value in {
        "Name": "Bleach",
        "Streams": "900719925474099123",
        "Price": "123456789012345678.90",
        "Loudness": "-3.5",
        "Released": "1989-06-15",
        "Recorded at": "1988-12-24T20:30:15",
        "Starts at": "20:15:30",
        "Tags": "grunge\nSub Pop",
        "Details": '{"label": {"no": 34}}',
        "Contact": "jon@example.org",
        "Comment": "one\ntwo",
    }.items():
        page.get_by_label(label, exact=True).or_(page.get_by_label(f"{label} (required)")).fill(
            value
        )
    page.get_by_label("Genre").select_option("rock")
    page.get_by_label("Format").select_option("12-inch")
    page.get_by_label("Is cover (required)").select_option("no")
    page.get_by_label("Is remaster").select_option("no")
    page.get_by_label("Is live").check()
    assert tab.violations() == []
    page.get_by_role("button", name="Save").click()
    page.get_by_role("heading", name="Recordings: Bleach").wait_for()
    said(page, "Saved.")
    path = page.url.partition("#")[2]
    first = httpx.get(tab.address + path)
    assert first.json() == {
        "id": 1,
        "name": "Bleach",
        "tracks": 10,
        "streams": 900719925474099123,
        "is_cover": False,
        "is_live": True,
        "is_remaster": False,
        "price": "123456789012345678.90",
        "loudness": -3.5,
        "released": "1989-06-15",
        "recorded_at": "1988-12-25T01:30:15+00:00",
        "starts_at": "20:15:30",
        "genre": "rock",
        "format": "12-inch",
        "tags": ["grunge", "Sub Pop"],
        "details": {"label": {"no": 34}},
        "contact": "jon@example.org",
        "comment": "one\ntwo",
    }
    exact: dict[str, Any] = {
        "starts_at": "20:15:30.123456",
        "recorded_at": "1988-12-25T01:30:15.654321+00:00",
        "details": {"label": {"no": 900719925474099123}, "side": "A"},
    }
    httpx.patch(tab.address + path, json=exact)
    page = tab.open("/console#/")
    page = tab.open(f"/console#{path}")
    page.get_by_label("Tracks").fill("11")
    page.get_by_label("Format").select_option("")
    details = page.get_by_label("Details")
    details.fill(details.input_value().replace('"A"', '"B"'))
    page.get_by_role("button", name="Save").click()
    said(page, "Saved.")
    tab.settle()  # it is read again
    exact["details"]["side"] = "B"
    changed = {**first.json(), **exact, "tracks": 11, "format": None}
    assert httpx.get(tab.address + path).json() == changed

    recorded = page.get_by_label("Recorded at")
    recorded.focus()
    page.keyboard.press("Backspace")  # a time without a month, for which the control has no value
    page.get_by_role("button", name="Save").click()
    page.wait_for_selector("#field-recorded_at[aria-invalid=true]")
    assert httpx.get(tab.address + path).json() == changed

    httpx.patch(tab.address + path, json={"name": ""})
    page.once("dialog", lambda dialog: dialog.accept())
    page = tab.open("/console#/recordings")
    page.get_by_role("link", name="1", exact=True).click()
    page.get_by_role("heading", name="Recordings: 1").wait_for()
