"""Answers to writes: whether they were only tried, or given before."""

from httpx import Response

from tests.support.asserts import assert_headers, assert_problem

DRY = "?dry_run=true"
"""What a write has in its URL that is only tried."""

_KEPT = ("etag", "location", "content-type", "cache-control", "content-length")


def was_replayed(answer: Response) -> bool:
    """Tell whether an answer says that it was given before."""
    said: list[str] = answer.headers.get_list("idempotency-replayed")
    assert said in ([], ["true"])
    return bool(said)


def assert_first(answer: Response) -> None:
    """Assert that a request was done now."""
    assert answer.is_success, answer.text
    assert not was_replayed(answer)


def assert_again(answer: Response, first: Response) -> None:
    """Assert that an answer is another's, given again."""
    assert was_replayed(answer), answer.text
    assert (answer.status_code, answer.content) == (first.status_code, first.content)
    for name in _KEPT:
        assert answer.headers.get(name) == first.headers.get(name)
    assert answer.headers["x-request-id"] != first.headers["x-request-id"]
    assert_headers(answer)


def assert_tried(answer: Response) -> None:
    """Assert that an answer is one to a write that was tried and would succeed."""
    assert answer.status_code == 200, answer.text
    assert "location" not in answer.headers
    assert "etag" not in answer.headers
    assert "idempotency-replayed" not in answer.headers
    assert answer.headers["content-length"] == str(len(answer.content))
    assert_headers(answer)


def assert_reused(answer: Response) -> None:
    """Assert that a client is told that its key is that of another request."""
    [error] = assert_problem(answer, 422, "idempotency-key-reused")["errors"]
    assert (error["location"], error["pointer"]) == ("header", "/Idempotency-Key")
    assert not was_replayed(answer)
