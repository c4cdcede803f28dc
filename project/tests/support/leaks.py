"""Secrets: what they look like, and that neither an answer nor a log tells one."""

import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
from httpx import Response

from songbook.logs.formatter import line_formatter

PASSWORD = "correct-horse-battery"
"""What every password of these tests begins with, so that it is found wherever it leaks."""


CANARY = "canary"
"""What requests carry in values of their query and in bodies, so that it is found in a log."""


SECRETS = re.compile(
    rf"{PASSWORD}"
    r"|\$argon2"
    r"|\beyJ[\w-]+\.[\w-]+\."  # a JSON Web Token
    r"|://[^\s:@/]*:(?!\*\*\*@)[^\s@/]+@"  # the password of a URL
)


def assert_discreet(text: str) -> None:
    """Assert that what a process tells holds no secret, and nothing of a query or a body."""
    for line in text.splitlines():
        if SECRETS.search(line) or CANARY in line:
            pytest.fail(f"a line tells a secret or a value: {line}")


def lines_of(told: str) -> list[dict[str, Any]]:
    """Return the lines of the log of a service; each is an object, but why it could not start."""
    lines = []
    for line in told.splitlines():
        if not re.match(r"\w+: ", line):
            lines.append(json.loads(line))
            assert {"timestamp", "level", "event"} <= lines[-1].keys()
    return lines


async def assert_discreet_answer(answer: Response) -> None:
    """Assert that an answer tells no password and no hash; only a login is given a token."""
    text = (await answer.aread()).decode(errors="replace")
    assert "$argon2" not in text
    named = text.replace('"pointer":"/hashed_password', "")  # they sent it
    if answer.is_success:  # rows may have any text
        named = "".join(re.findall(r'\A[^{\[].*|"hashed_password":', text))
    assert "hashed_password" not in named
    assert PASSWORD not in text
    kind, path = answer.headers.get("content-type", ""), answer.request.url.path
    if (
        answer.is_success
        and text
        and kind == "application/json"
        and not path.endswith("/openapi.json")
    ):
        told = [name for name in names_in(json.loads(text)) if re.search("(?i)password|hash", name)]
        assert told == []


def names_in(value: Any) -> Iterator[str]:
    """Give the names of all members of all objects in a JSON value."""
    if isinstance(value, dict):
        yield from value
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from names_in(part)


class Leaks(logging.Handler):
    """Keeps the records of the log that tell a secret, or whose line tells a value of a request."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.found: list[str] = []
        self._lines = line_formatter("json")

    def emit(self, record: logging.LogRecord) -> None:
        """Look at a record with all that its exception says, and at its line in the log."""
        text, line = self.format(record), self._lines.format(record)
        if SECRETS.search(text) or (CANARY in line and not record.name.startswith("http")):
            self.found.append(text)


LEAKS = Leaks()


@pytest.fixture(autouse=True)
def discreet_log() -> Iterator[None]:
    """Fail the test during which the log, as verbose as it can be, was told a secret."""
    LEAKS.found.clear()
    root, ours = logging.getLogger(), logging.getLogger("songbook")
    level = ours.level
    root.addHandler(LEAKS)  # each time anew: some tests configure the logging of their own
    ours.setLevel(logging.DEBUG)
    yield
    ours.setLevel(level)
    root.removeHandler(LEAKS)
    assert LEAKS.found == []
