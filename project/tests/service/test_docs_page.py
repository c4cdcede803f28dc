"""The page of the documentation, in a browser: each operation answers as it is offered."""

import re
import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import pytest
from sqlalchemy.engine import URL

from app.commands import store_superuser
from tests.support.browser import DESKTOP, PASSWORD, PHONE, Tab, launched, needs_browser
from tests.support.databases import create_database, execute, spelled
from tests.support.marks import slow
from tests.support.services import SERVICE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [slow, needs_browser, pytest.mark.processes, pytest.mark.timeout(1200)]

PRESS = """
async (id) => {
    const operation = document.getElementById(id);
    const until = async (selector) => {
        for (const end = Date.now() + 60000; Date.now() < end;) {
            const found = operation.querySelector(selector);
            if (found) return found;
            await new Promise((resolve) => setTimeout(resolve, 5));
        }
        throw new Error(`${selector}: ${operation.innerText}`);
    };
    const summary = await until(".opblock-summary-control");
    summary.click();
    (await until(".try-out__btn")).click();
    (await until(".execute")).click();
    const response = await until(".live-responses-table tr.response");
    const status = response.querySelector(".response-col_status").textContent;
    const [text] = response.innerText.split("Response headers");
    summary.click();
    return `${parseInt(status)} ${text}`;
}
"""
"""Opens an operation, presses what is offered, returns the response, and closes it."""

UPSTREAM = {
    "nested-interactive": r"\.opblock-summary-control",  # links within what opens an operation
    "scrollable-region-focusable": r"\.(curl|microlight)",  # requests and responses
    "heading-order": '"h6"',  # "Authorized"
    "landmark-unique": "_responses",  # the responses of each open operation
}
"""The rules of axe-core that Swagger UI breaks, and where; all others hold."""

OWN = (
    "INSERT INTO playlist (name, owner_id, is_public) VALUES ('For the road', 2, true)",
    "INSERT INTO entry (playlist_id, song_id, position) VALUES (1, 2, 1)",
)
"""What an operation needs beside the example data: a playlist with an entry."""

TABLES = ("song", "cities", "todo", "users", "given_up_email", "playlist", "entry")
KEEP = ("CREATE SCHEMA kept", *(f"CREATE TABLE kept.{name} AS TABLE {name}" for name in TABLES))
RESTORE = (
    "SET session_replication_role = replica",  # as they were, versions included
    f"TRUNCATE {', '.join(TABLES)}",
    *(f"INSERT INTO {name} TABLE kept.{name}" for name in TABLES),
)


class Site(NamedTuple):
    """A process that serves, its database, and a browser."""

    address: str
    url: URL
    browser: "Browser"

    def tab(self, **options: Any) -> Tab:
        """Return a tab that shows the page."""
        tab = Tab(self.browser, self.address, **options)
        tab.page.goto(f"{self.address}/docs")
        tab.page.wait_for_selector(".opblock-tag")
        return tab


@pytest.fixture(scope="module")
def site(server: URL, template: URL) -> Iterator[Site]:
    """Give a service with the example data and two superusers."""
    url = server.set(database=f"docs_{secrets.token_hex(6)}")
    create_database(server, url.database, template.database)
    SERVICE.run("seed", DATABASE_URL=spelled(url))
    for name in ("bob", "eve"):
        store_superuser(url, username=name, email=f"{name}@example.org", password=PASSWORD)
    execute(url, *OWN, *KEEP)
    with SERVICE.serving(DATABASE_URL=spelled(url)) as service, launched() as browser:
        yield Site(service.address, url, browser)
    execute(server, f'DROP DATABASE "{url.database}" WITH (FORCE)')


def authorize(page: "Page") -> None:
    """Sign in, as a superuser."""
    page.get_by_role("button", name="Authorize").click()
    form = page.locator(".auth-container").first
    form.get_by_label("username").fill("eve")
    form.get_by_label("password").fill(PASSWORD)
    form.get_by_role("button", name="Apply given OAuth2 credentials").click()
    form.get_by_role("button", name="Remove authorization").wait_for()


def test_every_operation_succeeds_as_it_is_offered(site: Site) -> None:
    tab = site.tab()
    authorize(tab.page)
    tab.page.get_by_role("button", name="Close").first.click()
    document = httpx.get(f"{site.address}/openapi.json").json()
    pressed, failed = set(), []
    for tag in tab.page.locator(".opblock-tag").all():
        tag.click()
        tab.page.wait_for_selector(".opblock")
        for each in tab.page.locator(".opblock").all():
            name = each.get_attribute("id") or ""
            operation = name.rpartition("-")[2]
            pressed.add(operation)
            if operation == "create_token":
                create_example_user(document, site)
            response = tab.page.evaluate(PRESS, name)
            if not response.startswith("2"):
                failed.append(f"{operation}: {response}")
            if not operation.startswith(("list", "read", "export")):
                execute(site.url, *RESTORE)
        tag.click()
        tab.page.wait_for_selector(".opblock", state="detached")

    assert failed == []
    assert pressed == {
        each["operationId"] for item in document["paths"].values() for each in item.values()
    }
    tab.check()
    tab.close()


def create_example_user(document: dict[str, Any], site: Site) -> None:
    """Create the user of the examples, who can sign in then."""
    [content] = document["paths"]["/users"]["post"]["requestBody"]["content"].values()
    form = {"username": "eve", "password": PASSWORD}
    token = httpx.post(f"{site.address}/api/auth/token", data=form).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    created = httpx.post(f"{site.address}/users", json=content["example"], headers=headers)
    assert created.status_code == 201


@pytest.mark.parametrize(("viewport", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")])
def test_the_page_is_accessible_but_for_what_swagger_ui_lacks(
    site: Site, viewport: dict[str, int], scheme: str
) -> None:
    tab = site.tab(viewport=viewport, color_scheme=scheme)
    found = tab.violations()
    tab.page.get_by_role("button", name="Authorize").click()
    tab.page.get_by_role("button", name="Apply given OAuth2 credentials").click()
    tab.page.locator(".auth-container .errors").wait_for()
    found += tab.violations()
    tab.page.get_by_role("button", name="Close").first.click()
    authorize(tab.page)
    found += tab.violations()
    stored = tab.page.evaluate("JSON.stringify(localStorage)")
    assert "access_token" in stored
    assert PASSWORD not in stored
    tab.page.get_by_role("button", name="Close").first.click()
    for name in ("songs-read_song", "songs-replace_song", "cities-import_cities_csv"):
        tag, operation = (
            tab.page.locator(f"#operations-tag-{name.partition('-')[0]}"),
            tab.page.locator(f"#operations-{name}"),
        )
        if tag.get_attribute("data-is-open") == "false":
            tag.click()
        operation.locator(".opblock-summary-control").press("Enter")
        operation.get_by_role("button", name="Try it out").click()
        operation.get_by_role("button", name="Execute").click()
        operation.locator(".live-responses-table").wait_for()
    operation.get_by_role("tab", name="Schema").last.click()
    operation.get_by_role("button", name="Expand all").last.click()
    found += tab.violations()
    execute(site.url, *RESTORE)

    background = tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(28, 32, 34)"}[scheme]
    assert tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    tab.page.locator(".opblock-summary-control").last.press("Tab")
    assert tab.page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    for line in found:
        rule, _, element = line.partition("\n")[0].partition(": ")
        assert re.search(UPSTREAM.get(rule, "^none$"), element), line
    tab.check()
    tab.close()
