"""An application is refused at its making where it could not work."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy.engine import URL
from starlette.responses import Response

from songbook import auth
from songbook.application import create_app
from songbook.auth import OPEN, PUBLIC, SIGNED_IN, SUPERUSER, Account, CurrentUser
from songbook.config import CommandError, Settings
from songbook.http import Router
from songbook.models import Record
from tests.samples.main import create_app as create_samples
from tests.samples.settings import Settings as SampleSettings
from tests.support.clients import client_of
from tests.support.databases import spelled
from tests.support.samples import Apart

NEEDS = "requires an account: pass `accounts` to create_app"


def router(permission: Any) -> Router:
    """Return a router with one route."""
    made = Router(prefix="/things", dependencies=[permission])

    @made.post("")
    async def create_thing() -> Response:
        """Create a thing."""
        return Response()

    return made


@pytest.mark.parametrize("permission", [SIGNED_IN, SUPERUSER])
def test_a_route_that_asks_who_sends_a_request_needs_accounts(permission: Any) -> None:
    with pytest.raises(TypeError, match=f"^/things {NEEDS}"):
        create_app(Settings(), [router(permission)])


def test_a_handler_that_is_given_the_user_needs_accounts() -> None:
    made = Router(prefix="/things", dependencies=[OPEN])

    @made.get("")
    async def read_things(user: CurrentUser) -> Response:
        """Read the things of a user."""
        return Response(user.email)

    with pytest.raises(TypeError, match=f"^/things {NEEDS}"):
        create_app(Settings(), [made])


@pytest.mark.parametrize("sent", ["/music", ""])
async def test_addresses_are_below_the_root_path_whether_a_proxy_removes_it_or_not(
    database_url: URL, sent: str
) -> None:
    settings = SampleSettings(database_url=spelled(database_url), root_path="/music/")
    app = create_samples(settings)
    async with app.router.lifespan_context(app), client_of(app) as client:
        book = await client.post(f"{sent}/books", json={"name": "a", "author": "b"})
        await client.post(f"{sent}/books/", json={"name": "c", "author": "d"})
        page = await client.get(f"{sent}/books?limit=1")
        missing = await client.get(f"{sent}/books/0")
        document = (await client.get(f"{sent}/openapi.json")).json()
        docs = await client.get(f"{sent}/docs")
        index = await client.get(f"{sent}/")

    assert re.fullmatch(r"/music/books/\d+", book.headers["location"])
    assert page.links["next"]["url"].startswith("/music/books?")
    assert missing.json()["instance"] == "/music/books/0"
    assert document["servers"][0] == {"url": "/music"}
    assert 'src="/music/docs/assets/' in docs.text
    assert index.status_code == 200


@pytest.mark.parametrize("sent", ["/api/api/auth/token", "/api/auth/token"])
async def test_a_path_that_begins_as_the_root_path_is_found_when_a_proxy_removes_it(
    database_url: URL, sent: str
) -> None:
    app = create_samples(SampleSettings(database_url=spelled(database_url), root_path="/api"))
    async with app.router.lifespan_context(app), client_of(app) as client:
        login = await client.post(sent, data={"username": "nobody", "password": "x"})

    assert (login.status_code, login.json()["instance"]) == (401, "/api/api/auth/token")


def test_a_root_path_that_is_a_path_of_the_service_is_refused() -> None:
    with pytest.raises(CommandError, match="ROOT_PATH=/books is a path of the service, too"):
        create_samples(SampleSettings(root_path="/books"))


async def test_a_service_has_a_lifespan_of_its_own_while_the_database_is_open() -> None:
    seen: list[object] = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        seen.append(app.state.service.database)
        yield
        seen.append("ended")

    settings = Settings(database_url="postgresql://127.0.0.1:1/nowhere")
    app = create_app(settings, [router(OPEN)], lifespan=lifespan)
    async with app.router.lifespan_context(app):
        assert seen == [app.state.service.database]

    assert seen == [app.state.service.database, "ended"]


def test_the_document_says_of_a_service_what_it_was_told() -> None:
    about = {"name": "MIT", "identifier": "MIT"}
    contact = {"email": "ada@example.org"}
    app = create_app(Settings(), [], title="Things", contact=contact, license_info=about)

    info = app.openapi()["info"]

    assert info["title"] == "Things"
    assert info["contact"] == contact
    assert info["license"] == about


def test_logins_need_accounts() -> None:
    with pytest.raises(TypeError, match=f"^/api/auth/token {NEEDS}"):
        create_app(Settings(), [auth.router])


def test_writes_that_are_closed_need_accounts() -> None:
    settings = Settings(closed_writes=True)

    with pytest.raises(TypeError, match="leave out the permission and CLOSED_WRITES"):
        create_app(settings, [router(OPEN)])


def test_a_service_without_accounts_has_no_logins_and_asks_for_no_token() -> None:
    document = create_app(Settings(), [router(OPEN)], title="Things").openapi()

    assert [*document["paths"]] == ["/things", "/livez", "/startupz", "/readyz"]
    assert document["paths"]["/things"]["post"]["security"] == []
    assert "securitySchemes" not in document["components"]


class Nobody(Account):
    """Accounts that are no table."""


class Nameless(Account, Record, Apart, table=True):
    """Accounts without a name to sign in with."""


@pytest.mark.parametrize(
    ("accounts", "reason"),
    [
        (Nobody, "Nobody is not a table: declare it with table=True"),
        (Nameless, "Nameless lacks the columns email, username of an account"),
    ],
)
def test_accounts_that_nobody_can_sign_in_to_are_refused(
    accounts: type[Account], reason: str
) -> None:
    with pytest.raises(TypeError, match=f"^{re.escape(reason)}$"):
        create_app(Settings(), [], accounts=accounts)


@pytest.mark.parametrize("permission", [SIGNED_IN, SUPERUSER])
def test_a_route_of_an_included_router_needs_accounts_as_well(permission: Any) -> None:
    including = Router()
    including.include_router(router(permission), prefix="/more")
    with pytest.raises(TypeError, match=f"^/more/things {NEEDS}"):
        create_app(Settings(), [including])


def test_a_route_that_its_including_router_lets_only_users_call_needs_accounts() -> None:
    including = Router()
    including.include_router(router(PUBLIC), dependencies=[SIGNED_IN])
    with pytest.raises(TypeError, match=f"^/things {NEEDS}"):
        create_app(Settings(), [including])
