"""A browser: Chromium of the system, which asks no other host than the service."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.support.waiting import PATIENCE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
PHONE = {"width": 360, "height": 740}
PASSWORD = "secret-words"
DESKTOP = {"width": 1100, "height": 800}

needs_browser = pytest.mark.skipif(
    CHROMIUM is None or find_spec("playwright") is None,
    reason="needs Chromium (`chromium` on the PATH) and playwright",
)


@contextmanager
def launched() -> Iterator["Browser"]:
    """Give a browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Tab:
    """A tab of a user of their own, and what went wrong in it."""

    def __init__(self, browser: "Browser", address: str, **options: Any) -> None:
        self.address = address
        self.requested: list[str] = []
        self.errors: list[str] = []
        context = browser.new_context(**{"viewport": DESKTOP, "locale": "en", **options})
        context.set_default_timeout(1000 * PATIENCE)
        self.page: Page = context.new_page()
        # a message fades after 8 s, which a busy machine may need until it is looked for
        slowed = {"playbackRate": 0.1}
        context.new_cdp_session(self.page).send("Animation.setPlaybackRate", slowed)
        self.page.on("request", lambda request: self.requested.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda told: self._note(told.type, told.text))
        self.close = context.close

    def _note(self, kind: str, text: str) -> None:
        """Note an error, but those that the browser reports of responses."""
        if kind == "error" and not text.startswith("Failed to load resource"):
            self.errors.append(text)

    def open(self, path: str) -> "Page":
        """Open another path of the service, and wait for its view, whose heading is a new one."""
        self.page.evaluate("document.querySelector('h1')?.setAttribute('data-left', '')")
        self.page.goto(self.address + path)
        self.settle("[tabindex]:not([data-left])")
        return self.page

    def settle(self, heading: str = "[tabindex]") -> None:
        """Wait for a view: its heading can be focused, unlike that of the empty page."""
        self.page.wait_for_selector(f"main:not([aria-busy]) h1{heading}")

    def check(self) -> None:
        """Assert that nothing failed, and that nothing was asked of another host."""
        assert not self.errors
        hosts = {urlsplit(url).netloc for url in self.requested if not url.startswith("data:")}
        hosts -= {""}  # blob:
        assert hosts <= {urlsplit(self.address).netloc}

    def violations(self) -> list[str]:
        """Return what axe-core finds in the view, one line for each element."""
        from importlib.resources import files

        script = files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(script)
        found = self.page.evaluate("axe.run({resultTypes: ['violations']})")
        return [
            f"{violation['id']}: {json.dumps(node['target'])} {node['failureSummary']}"
            for violation in found["violations"]
            for node in violation["nodes"]
        ]


def sign_in(page: "Page", name: str = "ada") -> None:
    """Sign in, and wait for the view."""
    page.get_by_role("button", name="Sign in").first.click()
    page.get_by_label("Name or e-mail").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_label("Password").press("Enter")
    page.get_by_role("button", name="Sign out").wait_for()
    page.wait_for_selector("main:not([aria-busy])")


def until(page: "Page", happened: Callable[[], object]) -> None:
    """Wait for what the browser tells of by an event."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline, "waited in vain"
        page.wait_for_timeout(10)


def said(page: "Page", text: str) -> None:
    """Wait for a message, which screen readers announce."""
    from playwright.sync_api import TimeoutError as NothingSaidError

    try:
        page.get_by_role("status").get_by_text(text).first.wait_for()
    except NothingSaidError:
        pytest.fail(page.locator("body").inner_text())


def cells(page: "Page", label: str) -> list[str]:
    """Return the texts of a column."""
    return page.locator(f"td[data-label='{label}']").all_inner_texts()
