"""Idempotency keys: what they are good for."""

from fastapi import FastAPI
from httpx import AsyncClient

from tests.support.databases import number_of
from tests.support.leaks import PASSWORD
from tests.support.replays import assert_again, assert_first, assert_reused

BOOK = {"name": "Stoner", "author": "John Williams", "year": None}


async def test_a_key_is_good_for_one_resource_and_one_method(
    app: FastAPI, client: AsyncClient, superuser: AsyncClient
) -> None:
    first = await client.post("/books", json=BOOK, headers={"Idempotency-Key": "k"})
    assert_first(first)

    for method, url in (("POST", "/notes"), ("PATCH", "/books/1"), ("POST", "/notes/1/restore")):
        body = {"content": "a"} if url == "/notes" else {"name": "a"}
        answer = await client.request(method, url, json=body, headers={"Idempotency-Key": "k"})
        assert_reused(answer)
    ada = {"username": "ada", "email": "ada@example.org", "password": PASSWORD}
    own = await superuser.post("/members", json=ada, headers={"Idempotency-Key": "k"})
    assert_first(own)  # whose key is a user's own
    assert await number_of(app, "idempotency") == 2


async def test_a_restored_note_is_not_restored_twice(client: AsyncClient) -> None:
    await client.post("/notes", json={"content": "a"})
    await client.delete("/notes/1")

    first = await client.post("/notes/1/restore", headers={"Idempotency-Key": "k"})
    await client.delete("/notes/1")

    assert_again(await client.post("/notes/1/restore", headers={"Idempotency-Key": "k"}), first)
    assert (await client.get("/notes/1")).status_code == 404
