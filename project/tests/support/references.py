"""What tests of references send, and what they are answered."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest
from httpx import AsyncClient, Response

from tests.support.asserts import assert_problem
from tests.support.marks import slow

NO_SUCH = "The referenced record does not exist"
ROUNDS = pytest.mark.parametrize("rounds", [5, pytest.param(200, marks=slow)])
"""Runs a race often enough to see it won by either side."""


async def post(client: AsyncClient, path: str, **fields: Any) -> Response:
    """Create a record; return the answer."""
    answer = await client.post(path, json=fields)
    assert answer.status_code == 201, answer.text
    return answer


def assert_missing(answer: Response, field: str = "publisher_id") -> None:
    """Assert that what a field refers to is said to be missing."""
    [error] = assert_problem(answer, 409, "conflict")["errors"]
    assert error == {
        "pointer": f"/{field}",
        "location": "body",
        "detail": NO_SUCH,
        "type": "foreign_key",
    }


def assert_in_use(answer: Response, detail: str) -> None:
    """Assert that a record is not deleted because of its children, which no member is about."""
    problem = assert_problem(answer, 409, "conflict")
    assert problem["detail"] == detail
    assert "errors" not in problem or not problem["errors"]


async def race(*requests: Awaitable[Response]) -> list[int]:
    """Send requests at once; return their statuses."""
    return [answer.status_code for answer in await asyncio.gather(*requests)]
