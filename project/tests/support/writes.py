"""What tests of transactions and sessions send, and the ways in which they send it."""

from typing import Any

import pytest
from pydantic import BaseModel

from tests.support.replays import DRY

KEY = {"Idempotency-Key": "k"}
TOWN: dict[str, Any] = {"name": "Reykjavík", "population": 140_000}

with_and_without_key = pytest.mark.parametrize("headers", [{}, KEY], ids=["no key", "key"])
done_and_tried = pytest.mark.parametrize("query", ["", DRY], ids=["done", "tried"])


class Founding(BaseModel):
    """A body whose values are not all good for the table."""

    name: str
    population: int


class Bug(Exception):
    """What a handler does not expect."""
