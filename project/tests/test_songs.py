"""Songs, as the tutorial and their own rules promise them."""

from typing import Any

import pytest
from httpx import AsyncClient

from tests.conftest import assert_problem

pytestmark = pytest.mark.anyio


async def test_the_first_song_of_an_empty_database_is_answered_as_the_tutorial_shows(
    client: AsyncClient,
) -> None:
    answer = await client.post("/songs", json={"name": "Midnight Fit", "artist": "Mogwai"})

    assert answer.status_code == 201
    assert answer.json() == {"id": 1, "name": "Midnight Fit", "artist": "Mogwai", "year": None}
    assert answer.headers["location"] == "/songs/1"


async def test_a_year_may_come_as_the_string_that_the_tutorial_posts(client: AsyncClient) -> None:
    answer = await client.post(
        "/songs", json={"name": "Mr. Brightside", "artist": "The Killers", "year": "2003"}
    )

    assert answer.json()["year"] == 2003


async def test_an_empty_table_is_an_empty_list(client: AsyncClient) -> None:
    assert (await client.get("/songs")).json() == []


@pytest.mark.parametrize(
    "body", [{"name": "a"}, {"artist": "a"}, {"name": "a", "artist": "b", "year": "abc"}]
)
async def test_a_body_that_does_not_fit_is_refused(
    client: AsyncClient, body: dict[str, Any]
) -> None:
    assert_problem(await client.post("/songs", json=body), 422, "validation")
