"""Songs, as the tutorial and their own rules promise them."""

from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlmodel.ext.asyncio.session import AsyncSession

from app.resources.songs import Song
from tests.support.asserts import assert_problem

SONG = {"name": "Midnight Fit", "artist": "Mogwai"}


async def test_a_ping_is_answered(client: AsyncClient) -> None:
    answer = await client.get("/ping")

    assert (answer.status_code, answer.json()) == (200, {"ping": "pong!"})


async def test_the_first_song_of_an_empty_database_is_answered_as_the_tutorial_shows(
    client: AsyncClient,
) -> None:
    answer = await client.post("/songs", json=SONG)

    assert answer.status_code == 201
    assert answer.text == '{"id":1,"name":"Midnight Fit","artist":"Mogwai","year":null}'
    assert answer.headers["location"] == "/songs/1"


async def test_a_year_may_come_as_the_string_that_the_tutorial_posts(client: AsyncClient) -> None:
    answer = await client.post("/songs", json=SONG | {"year": "2021"})

    assert answer.json()["year"] == 2021


async def test_an_empty_table_is_an_empty_list(client: AsyncClient) -> None:
    assert (await client.get("/songs")).text == "[]"


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({"name": "a"}, ["/artist"]),
        ({"artist": "a"}, ["/name"]),
        ({}, ["/name", "/artist"]),
        (SONG | {"year": "abc"}, ["/year"]),
        (SONG | {"year": 0}, ["/year"]),
        (SONG | {"year": 10000}, ["/year"]),
        (SONG | {"name": "x" * 256, "artist": ""}, ["/name", "/artist"]),
    ],
)
async def test_a_body_that_does_not_fit_is_refused_field_by_field(
    client: AsyncClient, body: dict[str, Any], pointers: list[str]
) -> None:
    errors = assert_problem(await client.post("/songs", json=body), 422, "validation")["errors"]

    assert [error["pointer"] for error in errors] == pointers


async def test_a_failure_tells_what_is_wrong_in_all_its_words(client: AsyncClient) -> None:
    answer = await client.post(
        "/songs", json=SONG | {"year": "abc"}, headers={"X-Request-ID": "mine"}
    )

    assert answer.json() == {
        "type": "/problems/validation",
        "title": "Unprocessable Content",
        "status": 422,
        "detail": "The request does not fit the schema.",
        "instance": "/songs",
        "request_id": "mine",
        "errors": [
            {
                "pointer": "/year",
                "location": "body",
                "detail": "Input should be a valid integer",
                "type": "int_parsing",
            }
        ],
    }


async def test_the_oldest_and_the_newest_year_are_years(client: AsyncClient) -> None:
    for year in (1, 9999):
        answer = await client.post("/songs", json=SONG | {"year": year})
        assert (answer.status_code, answer.json()["year"]) == (201, year)


async def test_a_song_is_stored_by_sqlmodel_as_well(
    client: AsyncClient, session: AsyncSession
) -> None:
    song = Song(name="a", artist="b", year=1999)
    session.add(song)
    await session.commit()

    answer = await client.get(f"/songs/{song.id}")

    assert answer.json() == {"id": song.id, "name": "a", "artist": "b", "year": 1999}


@pytest.mark.parametrize(
    "values",
    [
        "('', 'b', 1)",
        "('a', '', 1)",
        "(NULL, 'b', 1)",
        "('a', NULL, 1)",
        "('a', 'b', 0)",
        "('a', 'b', 10000)",
        "(repeat('x', 256), 'b', 1)",
    ],
)
async def test_what_is_no_song_is_none_to_postgresql_either(
    session: AsyncSession, values: str
) -> None:
    connection = await session.connection()

    with pytest.raises(DBAPIError):
        await connection.execute(text(f"INSERT INTO song (name, artist, year) VALUES {values}"))


async def test_what_others_have_stored_is_shown_as_it_is(
    client: AsyncClient, session: AsyncSession
) -> None:
    connection = await session.connection()
    values = "('  spaced ', E'tab\\tand\\nline', NULL)"
    await connection.execute(text(f"INSERT INTO song (name, artist, year) VALUES {values}"))
    await session.commit()

    for song in (await client.get("/songs/1")).json(), (await client.get("/songs")).json()[0]:
        assert song == {"id": 1, "name": "  spaced ", "artist": "tab\tand\nline", "year": None}
