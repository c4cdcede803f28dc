"""Pages: a walk along the links sees every row once, in order, whatever happens meanwhile."""

import asyncio
import base64
import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import URL, ASGITransport, AsyncClient
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, text
from starlette.requests import Request

from app.cursors import decode_cursor, encode_cursor
from app.db import Database
from app.pages import Page
from app.preconditions import revision
from app.problems import BadCursor
from app.records import Record, table_of
from app.resources.songs import Song, SongPublic
from tests.conftest import assert_problem
from tests.test_representation import KINDS, SAMPLES, Sample, SamplePublic, database

__all__ = ["database"]

Row = dict[str, Any]

# Values that many rows share, whose order is easily got wrong, or that are a part of each other.
SONGS = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["a", "A", "aa", "b", "É", "é", "ß", "10", "9", "\uffff", "𝄞", "%"]),
        "artist": st.sampled_from(["x", "X", "é,y"]),
        "year": st.none() | st.sampled_from([1, 2, 3, 9999]),
    }
)
SOME_SONGS = st.lists(SONGS, max_size=14)
LIMITS = st.lists(st.integers(1, 5), min_size=1, max_size=4)


def orders(fields: Sequence[str]) -> st.SearchStrategy[list[str]]:
    """Return orders over any of the fields, each in either direction."""
    signs = st.lists(st.sampled_from(["", "-"]), min_size=len(fields), max_size=len(fields))
    lengths = st.integers(1, len(fields))
    return st.builds(
        lambda names, signs, length: [a + b for a, b in zip(signs, names, strict=True)][:length],
        st.permutations(fields),
        signs,
        lengths,
    )


ORDERS = orders(list(SongPublic.model_fields))


@dataclass
class Filter:
    """Parameters, and which rows they ask for."""

    parameters: list[tuple[str, str]]
    asks: Callable[[Row], bool]


FILTERS = st.one_of(
    st.just(Filter([], lambda _: True)),
    st.lists(st.sampled_from(["", "1", "2", "9999"]), min_size=1, max_size=3).map(
        lambda years: Filter(
            [("year", year) for year in years],
            lambda row: ("" if row["year"] is None else str(row["year"])) in years,
        )
    ),
    st.integers(0, 4).map(
        lambda year: Filter(
            [("year_gte", str(year))], lambda row: row["year"] is not None and row["year"] >= year
        )
    ),
    st.sampled_from(["A", "é", "%", "x"]).map(
        lambda part: Filter(
            [("name_contains", part)], lambda row: part.lower() in row["name"].lower()
        )
    ),
)


def in_order(rows: Sequence[Row], order: Sequence[str]) -> list[Row]:
    """Return rows as a list has them: nulls last when ascending, texts by code point, then ids."""

    def by(field: str) -> Callable[[Row], tuple[bool, Any]]:
        return lambda row: (row[field] is None, row[field])

    found = list(rows)
    for key in (order[-1][0] == "-" and "-id" or "id", *reversed(order)):
        found.sort(key=by(key.removeprefix("-")), reverse=key.startswith("-"))
    return found


async def lay_out(app: FastAPI, songs: Sequence[Row]) -> list[Row]:
    """Make these the stored songs; their ids are in no order of the table."""
    rows = [{"id": number, **song} for number, song in enumerate(songs, 1)]
    async with app.state.database.engine.begin() as connection:
        await connection.execute(delete(table_of(Song)))
        if rows:
            await connection.execute(insert(table_of(Song)), rows[1::2] + rows[::2])
    return rows


async def walk(client: AsyncClient, url: str, limits: Sequence[int] = ()) -> AsyncIterator[list[Row]]:
    """Give the pages of a list, along the links, each asked for with the next of the limits."""
    following: str | None = url
    for limit in itertools.cycle(limits or [0]):
        if following is None:
            return
        address = URL(following)
        answer = await client.get(address.copy_set_param("limit", limit) if limit else address)
        assert answer.status_code == 200, answer.text
        following = answer.links.get("next", {}).get("url")
        assert not limit or len(answer.json()) == limit or following is None
        yield answer.json()


async def gathered(pages: AsyncIterator[list[Row]]) -> list[Row]:
    return [row async for page in pages for row in page]


@settings(max_examples=100)
@given(songs=SOME_SONGS, order=ORDERS, filtered=FILTERS, limits=LIMITS)
async def test_a_walk_sees_every_row_that_was_asked_for_once_and_in_order(
    app: FastAPI,
    client: AsyncClient,
    songs: list[Row],
    order: list[str],
    filtered: Filter,
    limits: list[int],
) -> None:
    rows = await lay_out(app, songs)
    url = URL("/songs", params=[("sort", ",".join(order)), *filtered.parameters])

    seen = await gathered(walk(client, str(url), limits))

    assert seen == in_order([row for row in rows if filtered.asks(row)], order)


@settings(max_examples=60)
@given(
    songs=SOME_SONGS,
    others=SOME_SONGS,
    order=ORDERS,
    limit=st.integers(1, 3),
    arriving=st.lists(SONGS, max_size=20),
)
async def test_a_walk_sees_every_row_that_stays_once_though_others_come_and_go(
    app: FastAPI,
    client: AsyncClient,
    songs: list[Row],
    others: list[Row],
    order: list[str],
    limit: int,
    arriving: list[Row],
) -> None:
    rows = await lay_out(app, [*songs, *others])
    staying = rows[: len(songs)]
    table = table_of(Song)
    seen: list[Row] = []

    async for page in walk(client, f"/songs?sort={','.join(order)}", [limit]):
        seen += page
        async with app.state.database.engine.begin() as connection:
            # Of the rows on the page, the one that the cursor names among them, none of the others stays.
            gone = [row["id"] for row in page if row not in staying]
            await connection.execute(delete(table).where(table.c.id.in_(gone)))
            for number, song in enumerate(arriving[:2], 1000 + len(seen) * 10):
                await connection.execute(insert(table).values(id=number, **song))
        arriving = arriving[2:]

    assert [row for row in seen if row in staying] == in_order(staying, order)
    assert seen == in_order(seen, order)
    assert len({row["id"] for row in seen}) == len(seen)


@pytest.mark.parametrize("order", ["id", "year", "-year,name", "artist,-year"])
async def test_a_walk_beside_four_writers_sees_every_row_that_stays_once(
    app: FastAPI, client: AsyncClient, order: str
) -> None:
    def song(number: int) -> Row:
        year = number % 5 or None
        return {"name": f"{number % 7}", "artist": f"{number % 3}", "year": year}

    staying = await lay_out(app, [song(number) for number in range(60)])
    turns = asyncio.Semaphore(8)  # a walk by id in ascending order would never catch up with more

    async def come_and_go(first: int) -> None:
        for number in itertools.count(first):
            await turns.acquire()
            added = await client.post("/songs", json=song(number))
            if number % 3:
                await client.delete(added.headers["location"])

    seen: list[Row] = []
    writers = [asyncio.create_task(come_and_go(first)) for first in range(4)]
    async for page in walk(client, f"/songs?sort={order}", [7]):
        seen += page
        for _ in range(8):
            turns.release()
    for writer in writers:
        writer.cancel()
    await asyncio.gather(*writers, return_exceptions=True)

    assert [row for row in seen if row in staying] == in_order(staying, order.split(","))
    assert len({row["id"] for row in seen}) == len(seen) > len(staying)
