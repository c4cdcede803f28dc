"""Assertions on what every answer has."""

import re
from typing import Any

from httpx import Response


def assert_problem(answer: Response, status: int, slug: str | None = None) -> dict[str, Any]:
    """Assert that an answer is the one shape that every failure has; return its body."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    problem: dict[str, Any] = answer.json()
    assert set(problem) - {"errors", "report", "checks"} == {
        "type",
        "title",
        "status",
        "detail",
        "instance",
        "request_id",
    }
    assert problem["status"] == status
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert slug is None or problem["type"] == f"/problems/{slug}"
    return problem


PERSONAL = re.compile(r"(/api)?/users([./].*)?")
"""The paths of what no cache may keep."""


def assert_headers(answer: Response, cache: str = "no-cache") -> None:
    """Assert that an answer has the headers that every answer has, each of them once.

    `cache` is what it says to caches when it is no failure and not about users.
    """
    if PERSONAL.fullmatch(answer.request.url.path):
        cache = "no-store"
    names = [name.lower() for name, _ in answer.headers.raw]
    assert len(set(names)) == len(names)
    assert re.fullmatch("[A-Za-z0-9._-]{1,64}", answer.headers["x-request-id"])
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    directives = answer.headers["cache-control"].removeprefix("private, ")  # records with owners
    assert directives == (cache if answer.status_code < 400 else "no-store")
    assert "server" not in answer.headers


def assert_unavailable(answer: Response) -> None:
    """Assert that a client is told to come back, and why only in general."""
    if answer.request.method == "HEAD":
        assert answer.status_code == 503
    else:
        assert_problem(answer, 503, "unavailable")
    assert answer.headers["retry-after"] == "1"
    assert_headers(answer)
