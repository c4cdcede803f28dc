"""Idempotency keys: what they are good for."""

from fastapi import FastAPI, Response
from httpx import ASGITransport, AsyncClient

from songbook.application import create_app
from songbook.auth import OptionalUser
from songbook.crud import TransactionDep
from tests.samples.resources.books import books
from tests.samples.resources.members import Member
from tests.support.clients import PRINCIPAL, sign_in
from tests.support.databases import number_of
from tests.support.leaks import PASSWORD
from tests.support.replays import assert_again, assert_first, assert_reused
from tests.support.routes import add_both_ways, open_router

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


async def test_a_key_is_the_user_s_own_also_where_the_user_is_read_after_the_transaction(
    app: FastAPI, client: AsyncClient
) -> None:
    async def store(db: TransactionDep, user: OptionalUser) -> Response:
        author = str(user.id) if user else "nobody"
        row = await db.fetch(books.insert({"name": "Stoner", "author": author, "year": None}))
        return Response(row["document"] if row else b"", media_type="application/json")

    router = open_router()
    add_both_ways(router, "/books", store)
    service = create_app(app.state.service.settings, [router], accounts=Member)
    service.state.service.database = app.state.service.database
    token = {"Authorization": await sign_in(app)}
    transport = ASGITransport(service)
    async with AsyncClient(transport=transport, base_url="http://songbook") as other:
        for path in ("/direct/books", "/solved/books"):
            authors = [
                (await other.post(path, headers={"Idempotency-Key": path, **who})).json()["author"]
                for who in (token, {}, token)
            ]
            assert authors == [str(PRINCIPAL), "nobody", str(PRINCIPAL)]
    assert (await client.get("/books?count=exact")).headers["x-total-count"] == "4"
