"""Permissions of one's own: a column of the account, a permission of the token, a row."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import jwt
import pytest
from fastapi import Depends, FastAPI, Response
from httpx import AsyncClient
from sqlalchemy import bindparam, select, text
from sqlalchemy.engine import URL
from sqlmodel import col

from songbook.application import create_app as create_application
from songbook.auth import NEEDS, Account, CurrentUser, permission
from songbook.crud import Id, TransactionDep, record_id
from songbook.db import CompiledStatement, Executor, Use
from songbook.errors import Forbidden, NotFound
from songbook.http import Principal, Router, StrictRequest
from songbook.models import Record
from tests.samples.main import create_app
from tests.samples.resources.books import Book, BookUpdate, books
from tests.samples.resources.members import Member
from tests.samples.settings import Settings
from tests.support.asserts import assert_problem
from tests.support.clients import add_user, client_of, sign_in, signed_in
from tests.support.databases import spelled, waiting
from tests.support.samples import Apart

router = Router(prefix="/desk", tags=["desk"])


@permission()
async def librarian(request: StrictRequest, user: Principal) -> bool:  # noqa: ARG001
    """Allow librarians."""
    return user.columns["role"] == "librarian"


@permission()
async def forgetful(request: StrictRequest, user: Principal) -> Any:
    """Forget to return what is decided."""


@permission()
async def broken(request: StrictRequest, user: Principal) -> bool:  # noqa: ARG001
    """Raise what is no problem."""
    return bool(user.columns["rank"])


@router.get("/role", dependencies=[Depends(librarian)])
async def read_by_role() -> Response:
    """Answer librarians."""
    return Response()


@router.get("/forgetful", dependencies=[Depends(forgetful)])
async def read_by_nobody() -> Response:
    """Answer nobody."""
    return Response()


@router.get("/broken", dependencies=[Depends(broken)])
async def read_by_error() -> Response:
    """Answer nobody either."""
    return Response()


@router.get("/solved", dependencies=[Depends(forgetful)])
async def read_solved() -> dict[str, str]:
    """Answer nobody, called by FastAPI."""
    return {}


@router.get("/scope", dependencies=[NEEDS("desk:use")])
async def read_by_scope() -> Response:
    """Answer to a token with the permission."""
    return Response()


LOOK = select(col(Book.author)).where(col(Book.id) == bindparam("id"))
LOOKED = CompiledStatement(LOOK, use=Use.ROW)
LOCKED = CompiledStatement(LOOK.with_for_update(), use=Use.WRITE)


async def check_author(db: Executor, look: CompiledStatement, id: int, user: Principal) -> None:
    """Raise NotFound, or Forbidden for anyone but the author."""
    book = await db.fetch(look.bind({"id": id}))
    if book is None:
        raise NotFound("Book not found")
    if book["author"] != user.email:
        raise Forbidden("Only its author may change a book.")


@permission(error_statuses=(403, 404))
async def author(request: StrictRequest, user: Principal) -> bool:
    """Allow the author of the book."""
    await check_author(request.database, LOOKED, await record_id.call(request), user)
    return True


@router.patch("/books/{id}", dependencies=[Depends(author)])
async def update_own_book(
    id: Id, user: CurrentUser, body: BookUpdate, db: TransactionDep
) -> Response:
    """Change a book, if the locked one is the user's own."""
    await check_author(db, LOCKED, id, user)
    return books.updated(await db.fetch(books.update(id, body.model_dump(exclude_unset=True))))


@pytest.fixture
async def desk(
    database_url: URL,
    client: AsyncClient,  # noqa: ARG001 - it empties the tables
) -> AsyncIterator[FastAPI]:
    """Give the sample with the routes of this file."""
    app = create_app(Settings(database_url=spelled(database_url)))
    app.router.routes.extend(router.routes)
    async with app.router.lifespan_context(app):
        yield app


async def test_a_rule_reads_a_column_of_the_account_with_each_request(desk: FastAPI) -> None:
    reader = await sign_in(desk, 1, is_superuser=False)
    superuser = await sign_in(desk, 2)
    async with client_of(desk) as client:
        assert_problem(await client.get("/desk/role"), 401)
        for token in (reader, superuser):
            client.headers["Authorization"] = token
            assert_problem(await client.get("/desk/role"), 403, "forbidden")
        async with desk.state.service.database.engine.begin() as connection:
            await connection.execute(text("UPDATE members SET role = 'librarian' WHERE id = 2"))

        assert (await client.get("/desk/role")).status_code == 200


@pytest.mark.parametrize("path", ["forgetful", "solved"])
async def test_a_rule_that_returns_nothing_allows_nobody(desk: FastAPI, path: str) -> None:
    async with client_of(desk, Authorization=await sign_in(desk)) as client:
        assert_problem(await client.get(f"/desk/{path}"), 403, "forbidden")


async def test_a_rule_that_raises_allows_nobody(desk: FastAPI) -> None:
    async with client_of(desk, Authorization=await sign_in(desk)) as client:
        assert_problem(await client.get("/desk/broken"), 500, "internal")


async def test_a_login_has_the_permissions_of_the_account_until_they_are_taken(
    desk: FastAPI,
) -> None:
    async with client_of(desk, Authorization=await sign_in(desk)) as superuser:
        problem = assert_problem(await superuser.get("/desk/scope"), 403, "forbidden")
        assert problem["detail"] == "The token lacks the permission `desk:use`."
        await add_user(superuser, "jane", "/members")
    engine = desk.state.service.database.engine
    change = text("UPDATE members SET permissions = :permissions WHERE username = 'jane'")
    async with engine.begin() as connection:
        await connection.execute(change, {"permissions": ["desk:use", "other"]})

    client = await signed_in(desk, "jane")
    token = client.headers["Authorization"].removeprefix("Bearer ")
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["permissions"] == ["desk:use", "other"]
    assert (await client.get("/desk/scope")).status_code == 200
    async with engine.begin() as connection:
        await connection.execute(change, {"permissions": ["desk:use:not"]})
    answer = await client.get("/desk/scope")

    assert_problem(answer, 403, "forbidden")
    challenge = 'Bearer error="insufficient_scope", scope="desk:use"'
    assert answer.headers["WWW-Authenticate"] == challenge


async def test_a_rule_about_a_row_holds_for_the_row_that_is_written(desk: FastAPI) -> None:
    """Another takes the book over after the rule was asked and before the write."""
    users = [await sign_in(desk, number, is_superuser=False) for number in (1, 2)]
    engine = desk.state.service.database.engine
    insert = "INSERT INTO book (id, name, author) VALUES (1, 'Odes', 'user1@example.org')"
    async with client_of(desk, Authorization=users[0]) as client, engine.connect() as other:
        async with engine.begin() as connection:
            await connection.execute(text(insert))
        assert_problem(await client.patch("/desk/books/2", json={}), 404, "not-found")
        assert (await client.patch("/desk/books/1", json={"year": 1})).status_code == 200
        await other.execute(text("UPDATE book SET author = 'user2@example.org'"))
        writing = asyncio.create_task(client.patch("/desk/books/1", json={"year": 2}))
        await waiting(other, 1)
        await other.commit()

        assert_problem(await writing, 403, "forbidden")
        client.headers["Authorization"] = users[1]
        answer = await client.patch("/desk/books/1", json={})
        assert answer.json()["year"] == 1


def test_the_document_has_what_a_rule_of_ones_own_answers() -> None:
    app = create_app(Settings())
    app.router.routes.extend(router.routes)
    document = app.openapi()

    scope = document["paths"]["/desk/scope"]["get"]
    assert scope["x-rule"] == "needs desk:use"
    assert scope["security"] == [{"password": ["desk:use"]}, {"token": ["desk:use"]}]
    assert {"401", "403"} <= scope["responses"].keys()
    flows = document["components"]["securitySchemes"]["password"]["flows"]
    assert flows["password"]["scopes"] == {"desk:use": "Permits desk:use."}
    own = document["paths"]["/desk/books/{id}"]["patch"]
    assert own["x-rule"] == "author"
    assert own["security"] == [{"password": []}, {"token": []}]
    assert {"401", "403", "404"} <= own["responses"].keys()


def test_two_rules_of_one_name_are_refused() -> None:
    @permission()
    async def librarian(request: StrictRequest, user: Principal) -> bool:  # noqa: ARG001
        """Allow everyone, which the table of the rules could not tell from the other."""
        return True

    other = Router(dependencies=[Depends(librarian)])
    other.get("/others")(read_by_role)
    with pytest.raises(TypeError, match="/others has another permission named `librarian`"):
        create_application(Settings(), [router, other], accounts=Member)


def test_a_rule_has_to_be_a_coroutine_function_or_name_permissions() -> None:
    def at_once(request: StrictRequest, user: Principal) -> bool:  # noqa: ARG001
        """Return what is no awaitable."""
        return True

    with pytest.raises(TypeError, match="must be an `async def`"):
        permission()(at_once)  # type: ignore[arg-type]
    for names in [(), ("",), ("a b",), ('"',)]:
        with pytest.raises(ValueError, match="not one or more visible ASCII texts"):
            NEEDS(*names)


class Textual(Account, Record, Apart, table=True):
    """Accounts whose permissions are a text."""

    username: str
    email: str
    permissions: str


class Misspelled(Account, Record, Apart, table=True):
    """Accounts without a column that permissions are to read."""

    principal_columns: ClassVar = ("role",)
    username: str
    email: str


@pytest.mark.parametrize(
    ("accounts", "reason"),
    [
        (Textual, "Textual.permissions is not a list"),
        (Misspelled, "Misspelled lacks the columns role of an account"),
    ],
)
def test_accounts_have_the_columns_that_permissions_read(
    accounts: type[Account], reason: str
) -> None:
    with pytest.raises(TypeError, match=f"^{reason}"):
        create_application(Settings(), [], accounts=accounts)
