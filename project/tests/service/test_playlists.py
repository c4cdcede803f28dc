"""Playlists, as their own rules promise them: whose they are, and the order of their entries."""

from typing import Any

import pytest
from fastapi import FastAPI
from httpx import AsyncClient, Response

from tests.support.asserts import assert_problem
from tests.support.clients import add_user, signed_in
from tests.support.databases import all_rows, number_of

module = pytest.importorskip(
    "app.resources.playlists", reason="there are no playlists in this service"
)

SONGS = ["Hold On Loosely", "Caught Up in You", "Back Where You Belong"]


@pytest.fixture
async def ada(app: FastAPI, superuser: AsyncClient) -> AsyncClient:
    """Give a client that sends the token of a user; there are three songs."""
    for name in SONGS:
        await superuser.post("/songs", json={"name": name, "artist": ".38 Special"})
    await add_user(superuser, "ada")
    return await signed_in(app, "ada")


@pytest.fixture
async def grace(app: FastAPI, superuser: AsyncClient) -> AsyncClient:
    """Give a client that sends the token of another user."""
    await add_user(superuser, "grace")
    return await signed_in(app, "grace")


async def add_playlist(client: AsyncClient, *songs: int, **given: Any) -> str:
    """Store a playlist with entries; return its address."""
    answer = await client.post("/playlists", json={"name": "Southern rock", **given})
    assert answer.status_code == 201, answer.text
    address: str = answer.headers["location"]
    if songs:
        assert (await add_entries(client, address, *songs)).status_code == 201
    return address


async def add_entries(
    client: AsyncClient, playlist: str, *songs: int, query: str = "", **headers: str
) -> Response:
    """Add songs to a playlist."""
    body = {"entries": [{"song_id": song} for song in songs]}
    return await client.post(f"{playlist}/entries{query}", json=body, headers=headers)


async def songs_of(client: AsyncClient, playlist: str) -> list[int]:
    """Return the songs of a playlist in its order."""
    answer = await client.get(f"{playlist}/entries")
    assert answer.status_code == 200, answer.text
    return [entry["song_id"] for entry in answer.json()]


async def every_status(client: AsyncClient, playlist: str) -> dict[str, int]:
    """Return the status of each request for a playlist and its entries, which deletes it last."""
    entry, body = f"{playlist}/entries/1", {"name": "Taken over"}
    answers = {
        "read": await client.get(playlist),
        "entries": await client.get(f"{playlist}/entries"),
        "export": await client.get(f"{playlist}/entries", headers={"Accept": "text/csv"}),
        "replace": await client.put(playlist, json=body),
        "update": await client.patch(playlist, json=body),
        "add": await add_entries(client, playlist, 1),
        "move": await client.patch(entry, json={"position": 9}),
        "remove": await client.delete(entry),
        "delete": await client.delete(playlist),
    }
    return {name: answer.status_code for name, answer in answers.items()}


async def test_a_private_playlist_is_there_for_its_owner_alone(
    app: FastAPI, client: AsyncClient, ada: AsyncClient, grace: AsyncClient
) -> None:
    playlist = await add_playlist(ada, 1)
    before = await all_rows(app)

    for_grace, for_nobody = (
        await every_status(grace, playlist),
        await every_status(client, playlist),
    )

    assert {*for_grace.values()} == {404}
    assert {*for_nobody.values()} == {401, 404}
    assert await all_rows(app) == before
    for other in (grace, client):
        assert (await other.get("/playlists/public")).json() == []
    assert (await grace.get("/playlists")).json() == []
    assert [each["name"] for each in (await ada.get("/playlists")).json()] == ["Southern rock"]
    assert {*(await every_status(ada, playlist)).values()} == {200, 201, 204}


async def test_a_public_playlist_is_read_by_everybody_and_changed_by_its_owner_alone(
    app: FastAPI, client: AsyncClient, ada: AsyncClient, grace: AsyncClient
) -> None:
    playlist = await add_playlist(ada, 1, is_public=True)
    before = await all_rows(app)
    reading = {"read", "entries", "export"}

    for other, status in ((grace, 404), (client, 401)):
        statuses = await every_status(other, playlist)
        assert statuses == {name: 200 if name in reading else status for name in statuses}
        assert [each["id"] for each in (await other.get("/playlists/public")).json()] == [1]
    assert await all_rows(app) == before
    assert (await grace.get("/playlists")).json() == []


async def test_a_superuser_changes_the_playlist_of_a_user_whose_it_stays(
    superuser: AsyncClient, ada: AsyncClient
) -> None:
    playlist = await add_playlist(ada, 1)

    assert (await superuser.patch(playlist, json={"name": "Renamed"})).status_code == 200
    assert (await add_entries(superuser, playlist, 2)).status_code == 201

    assert (await ada.get(playlist)).json()["name"] == "Renamed"
    assert await songs_of(ada, playlist) == [1, 2]


async def test_entries_are_added_at_the_end_all_or_none(app: FastAPI, ada: AsyncClient) -> None:
    playlist = await add_playlist(ada, 2)

    added = await add_entries(ada, playlist, 3, 1)
    refused = await add_entries(ada, playlist, 1, 99)
    tried = await add_entries(ada, playlist, 1, query="?dry_run=true")

    assert [each["song_id"] for each in added.json()] == [3, 1]
    [error] = assert_problem(refused, 409, "conflict")["errors"]
    assert error["pointer"] == "/entries/1/song_id"
    assert (tried.status_code, len(tried.json())) == (200, 1)
    assert await songs_of(ada, playlist) == [2, 3, 1]
    assert await number_of(app, "entry") == 3


async def test_a_repeated_request_adds_its_entries_once(ada: AsyncClient) -> None:
    playlist = await add_playlist(ada)

    first, again = [
        await add_entries(ada, playlist, 1, 2, **{"Idempotency-Key": "evening"}) for _ in range(2)
    ]

    assert (first.status_code, first.json()) == (201, again.json())
    assert again.headers["idempotency-replayed"] == "true"
    assert await songs_of(ada, playlist) == [1, 2]


async def test_an_entry_moves_between_two_others_and_no_other_row_changes(
    app: FastAPI, ada: AsyncClient
) -> None:
    playlist = await add_playlist(ada, 1, 2, 3)
    listed = await ada.get(f"{playlist}/entries")
    first, second, third = listed.json()
    others = [row for row in (await all_rows(app))["entry"] if third["id"] not in row]
    between = (first["position"] + second["position"]) / 2

    moved = await ada.patch(f"{playlist}/entries/{third['id']}", json={"position": between})

    assert (moved.status_code, moved.json()) == (200, third | {"position": between})
    assert await songs_of(ada, playlist) == [1, 3, 2]
    assert [row for row in (await all_rows(app))["entry"] if third["id"] not in row] == others
    assert (await ada.delete(f"{playlist}/entries/{first['id']}")).status_code == 204
    assert await songs_of(ada, playlist) == [3, 2]


async def test_an_entry_is_changed_only_under_its_own_playlist(
    app: FastAPI, ada: AsyncClient, grace: AsyncClient
) -> None:
    await add_playlist(ada, 1)
    own = await add_playlist(grace, 2)
    before = await all_rows(app)

    for number in ("1", "99", "9" * 30):
        entry = f"{own}/entries/{number}"
        assert_problem(await grace.patch(entry, json={"position": 5}), 404, "not-found")
        assert_problem(await grace.delete(entry), 404, "not-found")
    assert_problem(await grace.delete(f"{own}/entries/one"), 422, "validation")
    assert await all_rows(app) == before


async def test_the_entries_of_a_playlist_are_a_list_like_any_other(ada: AsyncClient) -> None:
    playlist = await add_playlist(ada, 3, 1, 2)
    other = await add_playlist(ada, 1)
    address = f"{playlist}/entries"

    page = await ada.get(f"{address}?limit=2&count=exact&expand=song&song.name_contains=o")
    cursor = page.links["next"]["url"].rpartition("?")[2]
    rest, elsewhere = (
        await ada.get(f"{address}?{cursor}"),
        await ada.get(f"{other}/entries?{cursor}"),
    )
    exported = await ada.get(f"{address}?song_id=1", headers={"Accept": "text/csv"})

    assert page.headers["x-total-count"] == "3"
    assert [each["song"]["name"] for each in page.json()] == [SONGS[2], SONGS[0]]
    assert [each["song"]["name"] for each in rest.json()] == [SONGS[1]]
    assert_problem(elsewhere, 400)
    assert exported.text.splitlines()[1:] == ["2,1,2"]
    assert_problem(await ada.get("/playlists/99/entries"), 404, "not-found")
    assert_problem(await ada.get(f"{address}?q=rock"), 422, "validation")  # they have no texts


async def test_nothing_of_playlists_is_shown_through_songs(
    client: AsyncClient, ada: AsyncClient
) -> None:
    await add_playlist(ada, 1)

    for related in ("entries", "playlists", "entry"):
        for path in ("/songs", "/songs/1"):
            assert_problem(await client.get(f"{path}?expand={related}"), 422, "validation")


async def test_the_most_listed_songs_are_those_of_public_playlists(
    client: AsyncClient, ada: AsyncClient, grace: AsyncClient
) -> None:
    await add_playlist(ada, 3, 3, 2, is_public=True)
    await add_playlist(grace, 2, is_public=True)
    await add_playlist(grace, 1, 3)

    answer = await client.get("/playlists/most-listed-songs")

    listed = [(each["id"], each["name"], each["playlists"]) for each in answer.json()]
    assert listed == [(2, SONGS[1], 2), (3, SONGS[2], 1)]


async def test_entries_go_with_their_playlist_their_song_and_their_owner(
    app: FastAPI, superuser: AsyncClient, ada: AsyncClient, grace: AsyncClient
) -> None:
    playlist, other = await add_playlist(ada, 1, 2), await add_playlist(grace, 3)

    assert (await superuser.delete("/songs/1")).status_code == 204
    assert await songs_of(ada, playlist) == [2]
    assert (await ada.delete(playlist)).status_code == 204
    assert await number_of(app, "entry") == 1
    user = (await grace.get("/users/me")).json()["id"]
    assert (await superuser.delete(f"/users/{user}")).status_code == 204

    assert_problem(await superuser.get(other), 404, "not-found")
    assert await number_of(app, "entry") == 0
