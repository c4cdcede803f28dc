"""The users tutorial: who asks is known by a token, and is told no more than is his to know."""

import html
import re
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

import jwt
import pytest
import yaml  # type: ignore[import-untyped] # the stubs would be for this file alone
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient, Response
from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlmodel.ext.asyncio.session import AsyncSession

from app.main import create_app
from app.settings import Settings
from tests.support.asserts import assert_problem
from tests.support.clients import PRINCIPAL, sign_in
from tests.support.databases import execute, spelled
from tests.support.paths import ROOT

SECRET = "8Zq2LrXw5vTn1KdYc7Hs4GfBj9Pm3RaE"
OTHER_SECRET = SECRET[::-1]
SHOWN = ["id", "username", "slug", "email", "first_name", "last_name", "is_superuser"]
PASSWORD = "a correct horse"
ANNA = {"username": "Anna", "slug": "anna", "email": "anna@example.org", "first_name": "Anna"}
BEN = {"username": "ben", "slug": "ben", "email": "ben@example.org"}

NOT_AUTHENTICATED = "Not authenticated"
NOT_VALID = "Could not validate credentials"
at_both_addresses = pytest.mark.parametrize("users", ["/users", "/api/users"])


def forged(secret: str = SECRET, *without: str, **claims: Any) -> str:
    """Return the Authorization header that the tutorial's tests make themselves."""
    whole = {"sub": ANNA["email"], "permissions": [], "exp": int(time.time()) + 300, **claims}
    told = {name: value for name, value in whole.items() if name not in without}
    return f"Bearer {jwt.encode(told, secret, 'HS256')}"


class Service(NamedTuple):
    """The service with two users, Anna and Ben, a client of it, and the headers of each."""

    client: AsyncClient
    superuser: str
    anna: str
    ben: str

    async def ask(self, method: str, url: str, who: str | None = None, **options: Any) -> Response:
        """Send a request as somebody, or as nobody."""
        headers = {"Authorization": who} if who else {}
        return await self.client.request(method, url, headers=headers, **options)


@pytest.fixture
def private_profiles() -> bool:
    """Tell whether users see nobody but themselves."""
    return False


@pytest.fixture
async def service(
    database_url: URL,
    client: AsyncClient,  # noqa: ARG001 - it empties the tables
    monkeypatch: pytest.MonkeyPatch,
    private_profiles: bool,  # noqa: FBT001 - a fixture
) -> AsyncIterator[Service]:
    """Give the service as the tutorial sets it up: Anna has the id 1, Ben the id 2."""
    monkeypatch.setenv("OAUTH_TOKEN_SECRET", SECRET)
    monkeypatch.setenv("PROJECT_NAME", "The users' <service>")
    app = create_app(
        Settings(database_url=spelled(database_url), private_profiles=private_profiles)
    )
    async with (
        app.router.lifespan_context(app),
        AsyncClient(transport=ASGITransport(app), base_url="http://songbook") as own,
    ):
        service = Service(
            own, await sign_in(app), forged(sub=ANNA["email"]), forged(sub=BEN["email"])
        )
        for user in (ANNA, BEN):
            body = user | {"password": PASSWORD}
            added = await service.ask("POST", "/users", service.superuser, json=body)
            assert added.status_code == 201, added.text
        yield service


def assert_unauthenticated(answer: Response, detail: str) -> None:
    """Assert that an answer is 401 in these words, and says how to authenticate."""
    assert assert_problem(answer, 401, "unauthenticated")["detail"] == detail
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_the_index_says_hello_world(client: AsyncClient) -> None:
    answer = await client.get("/")

    assert answer.status_code == 200
    assert answer.json()["message"] == "Hello World"


CLAIMS: list[Callable[[], dict[str, Any]]] = [
    dict,
    lambda: {"iat": int(time.time())},
    lambda: {"permissions": ["read", "anything"]},
    lambda: {"typ": "bearer"},
]


@at_both_addresses
@pytest.mark.parametrize("claims", CLAIMS, ids=["least", "iat", "permissions", "typ"])
async def test_a_user_is_read_with_a_token_of_the_secret(
    service: Service, users: str, claims: Callable[[], dict[str, Any]]
) -> None:
    answer = await service.ask("GET", f"{users}/1", forged(**claims()))

    assert answer.status_code == 200
    assert list(answer.json()) == SHOWN
    assert answer.json() == {"id": 1, **ANNA, "last_name": None, "is_superuser": False}


WRONG: list[tuple[str, Callable[[], str | None], str]] = [
    ("nothing", lambda: None, NOT_AUTHENTICATED),
    ("a password", lambda: "Basic YW5uYTphbm5h", NOT_AUTHENTICATED),
    ("another scheme", lambda: forged().replace("Bearer", "Token"), NOT_AUTHENTICATED),
    ("another signature", lambda: forged(OTHER_SECRET), NOT_VALID),
    ("no signature", lambda: forged().rpartition(".")[0] + ".", NOT_VALID),
    ("no token", lambda: "Bearer x", NOT_VALID),
    ("an old token", lambda: forged(exp=int(time.time()) - 60), NOT_VALID),
    ("no subject", lambda: forged(SECRET, "sub"), NOT_VALID),
    ("no permissions", lambda: forged(SECRET, "permissions"), NOT_VALID),
    ("no end", lambda: forged(SECRET, "exp"), NOT_VALID),
    ("an unknown user", lambda: forged(sub="nobody@example.org"), NOT_VALID),
]


@at_both_addresses
@pytest.mark.parametrize(
    ("header", "detail"), [each[1:] for each in WRONG], ids=[each[0] for each in WRONG]
)
async def test_without_a_good_token_nobody_learns_which_users_there_are(
    service: Service, users: str, header: Callable[[], str | None], detail: str
) -> None:
    for number in (1, 2, 999, "a"):  # before any 404
        assert_unauthenticated(await service.ask("GET", f"{users}/{number}", header()), detail)


@at_both_addresses
async def test_an_unknown_user_is_not_found(service: Service, users: str) -> None:
    answer = await service.ask("GET", f"{users}/999", service.anna)

    assert assert_problem(answer, 404, "not-found")["detail"] == "User not found"


async def test_no_answer_holds_a_password_or_its_hash(
    service: Service, session: AsyncSession
) -> None:
    answers = [
        await service.ask("POST", "/users", service.superuser, json=ANNA | {"password": PASSWORD}),
        await service.ask("GET", "/users", service.superuser),
        await service.ask("GET", "/users/1", service.anna),
        await service.ask("GET", "/users/me", service.anna),
        await service.ask("PATCH", "/users/1", service.superuser, json={"password": PASSWORD * 2}),
        await service.ask("PATCH", "/users/1", service.superuser, json={"password": "x"}),
    ]
    hashes = await (await session.connection()).scalars(text("SELECT hashed_password FROM users"))

    stored = [hashed for hashed in hashes if hashed != "none"]
    assert len(stored) == 2
    for answer in answers:
        for secret in (PASSWORD, *stored, "argon2", "hashed"):
            assert secret not in answer.text


async def test_the_documentation_is_at_the_tutorial_s_address_too(service: Service) -> None:
    answer = await service.ask("GET", "/api/docs")

    assert (answer.status_code, answer.headers["content-type"]) == (
        200,
        "text/html; charset=utf-8",
    )
    [title] = re.findall("<title>(.*)</title>", answer.text)
    assert html.unescape(title) == "The users' <service>"
    assert "<service>" not in answer.text
    document = await service.ask("GET", "/openapi.json")
    assert document.json()["info"]["title"] == "The users' <service>"


@pytest.mark.parametrize("username", ["Anna", "anna", "anna@example.org", "ANNA@example.org"])
async def test_a_name_or_an_e_mail_and_the_password_give_a_token(
    service: Service, username: str
) -> None:
    form = {"username": username, "password": PASSWORD}

    answer = await service.ask("POST", "/api/auth/token", data=form)

    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert answer.json() == {"access_token": answer.json()["access_token"], "token_type": "bearer"}
    token = answer.json()["access_token"]
    claims = jwt.decode(token, SECRET, ["HS256"])
    assert (claims["sub"], claims["permissions"]) == (ANNA["email"], [])
    read = await service.ask("GET", "/users/me", f"Bearer {token}")
    assert read.json()["id"] == 1


@pytest.mark.parametrize(
    "form",
    [
        {"username": "Anna", "password": "a wrong horse"},
        {"username": "nobody", "password": PASSWORD},
        {"username": "user" + str(PRINCIPAL), "password": "none"},  # what is stored is no hash
    ],
)
async def test_a_wrong_name_or_password_gives_none(service: Service, form: dict[str, str]) -> None:
    answer = await service.ask("POST", "/api/auth/token", data=form)

    assert_unauthenticated(answer, "Incorrect username or password")


def test_the_table_is_the_tutorial_s_and_unique_regardless_of_case(migrated_url: URL) -> None:
    indexes = dict(
        execute(
            migrated_url,
            "SELECT indexname::text, indexdef FROM pg_indexes WHERE tablename = 'users'",
        )
    )

    for name in ("username", "slug", "email"):
        assert f"UNIQUE INDEX uq_users_{name}" in indexes[f"uq_users_{name}"]
        assert f"(lower(({name})::text))" in indexes[f"uq_users_{name}"]


@pytest.mark.parametrize(
    ("name", "taken"),
    [("username", "aNNA"), ("slug", "ANNA"), ("email", "Anna@Example.org")],
)
async def test_what_another_user_has_in_any_case_is_taken(
    service: Service, name: str, taken: str
) -> None:
    body = {"username": "carla", "slug": "carla", "email": "c@example.org", "password": PASSWORD}

    for refused in (
        await service.ask("POST", "/users", service.superuser, json=body | {name: taken}),
        await service.ask("PATCH", "/users/2", service.superuser, json={name: taken}),
    ):
        problem = assert_problem(refused, 409, "conflict")
        assert problem["detail"] == "The user is already stored"
        assert [error["pointer"] for error in problem["errors"]] == [f"/{name}"]


CARLA = {"username": "carla", "email": "carla@example.org", "password": PASSWORD}
NAME = {"first_name": "A."}
WHOLE = ANNA | NAME | {"password": PASSWORD}
# Who may what: the request, and its status for nobody, another user, the user and a superuser.
REQUESTS: list[tuple[str, str, Any, tuple[int, int, int, int]]] = [
    ("GET", "", None, (401, 403, 403, 200)),
    ("POST", "", CARLA, (401, 403, 403, 201)),
    ("GET", "/1", None, (401, 200, 200, 200)),
    ("PUT", "/1", WHOLE, (401, 403, 403, 200)),
    ("PATCH", "/1", NAME, (401, 403, 403, 200)),
    ("GET", "/me", None, (401, 200, 200, 200)),
    ("PATCH", "/me", NAME, (401, 200, 200, 200)),
    ("DELETE", "/1", None, (401, 403, 403, 204)),
]
HIDDEN = {("GET", "/1"), ("PUT", "/1"), ("PATCH", "/1"), ("DELETE", "/1")}


@at_both_addresses
@pytest.mark.parametrize("private_profiles", [False, True], ids=["open", "private"])
@pytest.mark.parametrize("who", ["nobody", "another", "own", "superuser"])
async def test_who_may_what(
    service: Service,
    users: str,
    who: str,
    private_profiles: bool,  # noqa: FBT001 - a parameter
) -> None:
    headers = {"another": service.ben, "own": service.anna, "superuser": service.superuser}
    columns = ["nobody", "another", "own", "superuser"]

    for method, path, body, statuses in REQUESTS:
        expected = statuses[columns.index(who)]
        if private_profiles and who == "another" and (method, path) in HIDDEN:
            expected = 404
        options = {} if body is None else {"json": body}
        answer = await service.ask(method, users + path, headers.get(who), **options)
        assert (method, path, answer.status_code) == (method, path, expected)
        if expected == 401:
            assert_unauthenticated(answer, NOT_AUTHENTICATED)
        elif expected >= 400:
            problem = assert_problem(answer, expected)
            assert expected == 403 or problem["detail"] == "User not found"


@pytest.mark.parametrize("private_profiles", [True])
async def test_with_private_profiles_a_hidden_user_looks_like_none(service: Service) -> None:
    hidden = await service.ask("GET", "/users/2", service.anna)
    absent = await service.ask("GET", "/users/999", service.anna)

    without = {"instance": "", "request_id": ""}
    assert hidden.json() | without == absent.json() | without
    assert (hidden.status_code, absent.status_code) == (404, 404)


async def test_users_change_their_names_and_with_the_password_it_and_their_e_mail(
    service: Service,
) -> None:
    async def change(who: str, **fields: str) -> Response:
        return await service.ask("PATCH", "/users/me", who, json=fields)

    named = await change(service.anna, first_name="Anne", last_name="Noname")
    assert (named.json()["first_name"], named.json()["last_name"]) == ("Anne", "Noname")
    assert_problem(await change(service.anna, password="another horse"), 422)
    assert_problem(
        await change(service.anna, password="another horse", current_password="a wrong horse"), 422
    )
    for forbidden in ({"is_superuser": "true"}, {"is_active": "true"}):
        assert_problem(await change(service.anna, **forbidden), 422)

    done = await change(service.anna, password="another horse", current_password=PASSWORD)

    assert done.status_code == 200
    # a token without `iat` counts as issued before any change
    assert_unauthenticated(await service.ask("GET", "/users/me", service.anna), NOT_VALID)
    form = {"username": "Anna", "password": "another horse"}
    token = (await service.ask("POST", "/api/auth/token", data=form)).json()["access_token"]
    bearer, moving = f"Bearer {token}", {"email": "anne@example.org"}
    assert_problem(await change(bearer, **moving), 422)
    moved = await change(bearer, **moving, current_password="another horse")
    assert moved.json()["email"] == "anne@example.org"
    assert_unauthenticated(await service.ask("GET", "/users/me", f"Bearer {token}"), NOT_VALID)


async def test_superusers_make_others_superusers_but_the_last_one_stays(service: Service) -> None:
    own = f"/users/{PRINCIPAL}"
    for method, body in (
        ("DELETE", None),
        ("PATCH", {"is_superuser": False}),
        ("PATCH", {"is_active": False}),
    ):
        options = {} if body is None else {"json": body}
        last = await service.ask(method, own, service.superuser, **options)
        problem = assert_problem(last, 409, "conflict")
        assert problem["detail"] == "The last superuser cannot be removed"

    made = await service.ask("PATCH", "/users/1", service.superuser, json={"is_superuser": True})

    assert made.json()["is_superuser"] is True
    assert (await service.ask("DELETE", own, service.anna)).status_code == 204
    assert_unauthenticated(await service.ask("GET", "/users", service.superuser), NOT_VALID)
    assert (await service.ask("GET", "/users", service.anna)).status_code == 200


async def test_a_user_who_is_not_active_any_more_has_no_token_that_is_good(
    service: Service,
) -> None:
    body = {"is_active": False}
    await service.ask("PATCH", "/users/1", service.superuser, json=body)

    assert_unauthenticated(await service.ask("GET", "/users/1", service.anna), NOT_VALID)
    form = {"username": "Anna", "password": PASSWORD}
    refused = await service.ask("POST", "/api/auth/token", data=form)
    assert_unauthenticated(refused, "Incorrect username or password")


@pytest.mark.parametrize(
    "name", ["DATABASE_URL", "ECHO_SQL", "PROJECT_NAME", "OAUTH_TOKEN_SECRET", "LOG_LEVEL"]
)
def test_the_settings_are_called_as_in_the_tutorial(name: str) -> None:
    assert name.lower() in Settings.model_fields


@pytest.mark.parametrize("nth", ["first", "second"])
async def test_each_test_is_a_clean_slate_although_handlers_commit(
    app: FastAPI, client: AsyncClient, session: AsyncSession, nth: str
) -> None:
    assert (await client.get("/songs")).json() == []
    created = await client.post("/songs", json={"name": nth, "artist": "a"})
    seen = await (await session.connection()).execute(text("SELECT id, name FROM song"))
    assert [tuple(row) for row in seen] == [(1, nth)]  # the session sees what is committed

    header = await sign_in(app)
    users = await client.get("/users", headers={"Authorization": header})
    assert [user["id"] for user in users.json()] == [PRINCIPAL]
    assert created.json()["id"] == 1


def test_compose_has_a_database_for_tests_at_a_port_of_its_own() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]

    assert {"db", "db-test", "web"} <= set(services)
    assert services["db-test"]["ports"] == ["127.0.0.1:${TEST_DB_PORT:-5434}:5432"]
    assert "volumes" not in services["db-test"]
