"""Users: who may what, what nobody can grant himself, and what ends a token."""

import asyncio
import json
import time
from datetime import datetime
from typing import Any

import jwt
import pytest
from fastapi import FastAPI
from httpx import AsyncClient, Response
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlmodel.ext.asyncio.session import AsyncSession

from app.resources.users import User, UserCreate, UserPublic, UserUpdate, UserUpdateMe
from songbook.auth.passwords import hash_password
from songbook.models.tables import table_of
from tests.support.asserts import assert_headers, assert_problem
from tests.support.clients import PRINCIPAL, add_user, client_of, log_in, sign_in, signed_in
from tests.support.databases import waiting
from tests.support.leaks import PASSWORD

JSON = {"Content-Type": "application/json"}
OTHER = f"{PASSWORD}-2"
CURRENT = {"current_password": PASSWORD}
CREDENTIALS = {"password": OTHER, "email": "doe@example.org", "username": "doe"}
LAST = "The last superuser cannot be removed"
MODELS = {
    ("POST", "/users"): UserCreate,
    ("PUT", "/users/1"): UserCreate,
    ("PATCH", "/users/1"): UserUpdate,
    ("PATCH", "/users/me"): UserUpdateMe,
}


@pytest.fixture
async def jane(app: FastAPI, superuser: AsyncClient) -> AsyncClient:
    """Give a client that sends the token of a user: jane, of id 1."""
    await add_user(superuser, "jane", first_name="Jane")
    return await signed_in(app, "jane")


async def row_of(app: FastAPI, id: int) -> dict[str, Any] | None:
    """Return all that is stored of a user."""
    users = table_of(User)
    async with app.state.service.database.engine.begin() as connection:
        found = (
            (await connection.execute(users.select().where(users.c.id == id))).mappings().first()
        )
        return dict(found) if found else None


async def is_signed_in(client: AsyncClient) -> bool:
    """Tell whether the token of a client is good."""
    answer = await client.get("/users/me")
    assert answer.status_code in {200, 401}
    return answer.status_code == 200


def pointers(answer: Response, status: int) -> list[str]:
    """Return what the errors of a refusal point at."""
    return [error["pointer"] for error in assert_problem(answer, status)["errors"]]


def token_of(app: FastAPI, **claims: Any) -> AsyncClient:
    """Return a client with a token of these claims."""
    secret = app.state.service.settings.token_secret
    stated = {"sub": "jane@example.org", "permissions": [], "exp": int(time.time()) + 300, **claims}
    return client_of(app, Authorization=f"Bearer {jwt.encode(stated, secret, 'HS256')}")


# Who may what: nobody, another user, the user, a superuser; as the contract has it.
MAY = """
GET    /users      401  403  403  200
POST   /users      401  403  403  201
GET    /users/1    401  200  200  200
PUT    /users/1    401  403  403  200
PATCH  /users/1    401  403  403  200
DELETE /users/1    401  403  403  204
GET    /users/me   401  200  200  200
PATCH  /users/me   401  200  200  200
"""
PRIVATE = """
GET    /users/1    401  404  200  200
PUT    /users/1    401  404  403  200
PATCH  /users/1    401  404  403  200
DELETE /users/1    401  404  403  204
"""
CASES = [line.split() for line in MAY.strip().splitlines()]
PRIVATE_CASES = [line.split() for line in PRIVATE.strip().splitlines()]


async def assert_statuses(
    app: FastAPI, superuser: AsyncClient, method: str, path: str, *statuses: str
) -> None:
    """Assert what becomes of a request of nobody, of another user, of the user, of a superuser."""
    await add_user(superuser, "jane")
    await add_user(superuser, "joe")
    body: dict[str, str] = {}
    if method in {"POST", "PUT"}:
        name = "jim" if method == "POST" else "jane"
        body = {"username": name, "email": f"{name}@example.org", "password": PASSWORD}
    joe, jane = [await signed_in(app, name) for name in ("joe", "jane")]

    for client, status in zip((client_of(app), joe, jane, superuser), statuses, strict=True):
        sent = None if method in {"GET", "DELETE"} else body
        answer = await client.request(method, path, json=sent)
        assert answer.status_code == int(status)
        assert_headers(answer)
        if answer.is_error:
            assert_problem(answer, int(status))


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join(case[:2]))
async def test_who_may_what(app: FastAPI, superuser: AsyncClient, case: list[str]) -> None:
    await assert_statuses(app, superuser, *case)


@pytest.mark.parametrize("case", PRIVATE_CASES, ids=lambda case: " ".join(case[:2]))
async def test_who_may_what_where_profiles_are_private(
    app: FastAPI, superuser: AsyncClient, monkeypatch: pytest.MonkeyPatch, case: list[str]
) -> None:
    monkeypatch.setattr(app.state.service.settings, "private_profiles", True)

    await assert_statuses(app, superuser, *case)


async def test_a_hidden_profile_looks_like_one_that_is_not_there(
    app: FastAPI, jane: AsyncClient, superuser: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.state.service.settings, "private_profiles", True)
    hidden = (await add_user(superuser, "joe")).json()["id"]

    for method in ("GET", "PUT", "PATCH", "DELETE"):
        one = await jane.request(method, f"/users/{hidden}", headers={"X-Request-ID": "1"})
        none = await jane.request(method, "/users/9", headers={"X-Request-ID": "1"})
        assert assert_problem(one, 404)["detail"] == "User not found"
        assert one.text.replace(f"/{hidden}", "/9") == none.text
        del one.headers["server-timing"], none.headers["server-timing"]  # in development only
        assert one.headers == none.headers


async def test_a_user_is_shown_without_anything_secret(
    jane: AsyncClient, superuser: AsyncClient
) -> None:
    read = await jane.get("/users/1")

    assert read.json() == {
        "username": "jane",
        "slug": "jane",
        "email": "jane@example.org",
        "first_name": "Jane",
        "last_name": None,
        "id": 1,
        "is_superuser": False,
    }
    assert (await jane.get("/users/me")).json() == read.json()
    assert (await jane.get("/api/users/1")).json() == read.json()
    assert (await superuser.get("/users", params={"id_lt": 9})).json() == [read.json()]
    assert assert_problem(await jane.get("/users/9"), 404)["detail"] == "User not found"


@pytest.mark.parametrize(
    "column", ["hashed_password", "is_active", "credentials_changed_at", "created_at", "version"]
)
async def test_what_is_not_shown_can_be_asked_for_in_no_way(
    superuser: AsyncClient, column: str
) -> None:
    for asked in (column, f"{column}_gt", f"{column}_contains", f"{column}_lte"):
        assert_problem(await superuser.get("/users", params={asked: "$argon2id"}), 422)
    for sort in (column, f"-{column}", f"id,{column}"):
        assert_problem(await superuser.get("/users", params={"sort": sort}), 422)


async def test_the_search_does_not_find_a_hash(jane: AsyncClient, superuser: AsyncClient) -> None:
    assert jane
    for asked in ("argon2id", "$argon2id$v=19", "v=19", PASSWORD):
        assert (await superuser.get("/users", params={"q": asked})).json() == []


# What no client may say of a user: the columns and the shown fields that are not in the body, and
# what other programs call them.
FORBIDDEN: dict[str, Any] = {
    "id": 7,
    "version": 7,
    "hashed_password": "x" * 60,
    "created_at": "2020-01-01T00:00:00Z",
    "credentials_changed_at": None,
    "is_superuser": True,
    "is_active": False,
    "password": PASSWORD,
    "current_password": PASSWORD,
    "permissions": ["*"],
    "is_staff": True,
    "isSuperuser": True,
    "is_superuser ": True,
    "IS_SUPERUSER": True,
    "role": "admin",
    "__class__": {},
    "": 1,
}


def test_the_fields_that_no_client_may_send_are_all_tried() -> None:
    assert {*User.model_fields, *UserPublic.model_fields} <= {
        *FORBIDDEN,
        *UserUpdateMe.model_fields,
    }


@pytest.mark.parametrize(
    ("method", "path"), MODELS, ids=[f"{method} {path}" for method, path in MODELS]
)
async def test_what_is_not_a_clients_to_say_is_refused_and_nothing_changes(
    app: FastAPI, jane: AsyncClient, superuser: AsyncClient, method: str, path: str
) -> None:
    before = await row_of(app, 1)
    model, client = MODELS[method, path], jane if path == "/users/me" else superuser
    body = {"username": "new", "email": "new@example.org", "first_name": "New"}
    if method != "PATCH":
        body["password"] = OTHER

    refused = {name: value for name, value in FORBIDDEN.items() if name not in model.model_fields}
    for name, value in refused.items():
        answer = await client.request(method, path, json={**body, name: value})
        assert pointers(answer, 422) == [f"/{name}"]
    twice = json.dumps({**body, "is_superuser": False})[:-1] + ', "is_superuser": true}'
    assert_problem(await client.request(method, path, content=twice, headers=JSON), 400)

    assert len(refused) >= 10
    assert await row_of(app, 1) == before
    assert await row_of(app, 2) is None


@pytest.mark.parametrize("value", [1, "True", "yes", None, [], {"$ne": None}])
async def test_a_flag_is_true_or_false_and_nothing_like_it(
    app: FastAPI, superuser: AsyncClient, jane: AsyncClient, value: Any
) -> None:
    before = await row_of(app, 1)
    assert jane

    for name in ("is_superuser", "is_active"):
        assert pointers(await superuser.patch("/users/1", json={name: value}), 422) == [f"/{name}"]

    assert await row_of(app, 1) == before


@pytest.mark.parametrize("field", ["username", "slug", "email"])
async def test_what_is_taken_in_another_case_is_taken(
    app: FastAPI, jane: AsyncClient, superuser: AsyncClient, field: str
) -> None:
    assert jane
    await add_user(superuser, "joe")
    joe = await signed_in(app, "joe")
    before = await row_of(app, 2)
    taken = {"username": "JANE", "slug": "Jane", "email": "Jane@Example.ORG"}[field]
    joes = {"username": "joe", "slug": "joe", "email": "joe@example.org", "password": PASSWORD}
    jims = {"username": "jim", "slug": "jim", "email": "jim@example.org", "password": PASSWORD}

    for answer in (
        await superuser.post("/users", json=jims | {field: taken}),
        await superuser.put("/users/2", json=joes | {field: taken}),
        await superuser.patch("/users/2", json={field: taken}),
        await joe.patch("/users/me", json={field: taken} | CURRENT),
    ):
        assert pointers(answer, 409) == [f"/{field}"]
        assert answer.json()["detail"] == "The user is already stored"
    assert await row_of(app, 2) == before
    assert await row_of(app, 3) is None


async def test_ones_own_name_may_be_written_in_another_case(jane: AsyncClient) -> None:
    answer = await jane.patch("/users/me", json={"username": "JANE", "slug": "Jane"} | CURRENT)

    assert (answer.status_code, answer.json()["username"], answer.json()["slug"]) == (
        200,
        "JANE",
        "Jane",
    )


@pytest.mark.parametrize(
    ("username", "slug"),
    [("Jane", "jane"), ("J.Doe_x+1", "j-doe-x-1"), ("a-.-b+", "a-b"), ("7", "7")],
)
async def test_a_slug_that_is_left_out_is_made_of_the_name(
    superuser: AsyncClient, username: str, slug: str
) -> None:
    created = await add_user(superuser, username, email="x@example.org", slug="other")
    body = {"username": username, "email": "x@example.org", "password": PASSWORD}
    replaced = await superuser.put(created.headers["location"], json=body)
    removed = await superuser.delete(created.headers["location"])
    again = await add_user(superuser, username)

    assert removed.status_code == 204
    assert [each.json()["slug"] for each in (created, replaced, again)] == ["other", slug, slug]


async def test_a_slug_that_is_made_of_the_name_may_be_taken(superuser: AsyncClient) -> None:
    await add_user(superuser, "jane-doe")
    body = {"username": "Jane.Doe", "email": "x@example.org", "password": PASSWORD}

    assert pointers(await superuser.post("/users", json=body), 409) == ["/slug"]


async def test_without_a_name_only_the_name_is_missing(superuser: AsyncClient) -> None:
    body = {"email": "x@example.org", "password": PASSWORD}

    assert pointers(await superuser.post("/users", json=body), 422) == ["/username"]
    assert pointers(await superuser.post("/users", json={**body, "username": "-"}), 422) == [
        "/username"
    ]


@pytest.mark.parametrize(
    "password",
    [
        f"{PASSWORD}".ljust(128, "x"),
        f"  {PASSWORD} \t",
        f"{PASSWORD}\n\u3000",
        f"{PASSWORD}é",
        f"{PASSWORD}e\u0301",
        "🐎" * 8,
        "🐎" * 128,
        " " * 8,
        "\x01\x7f\u202e\ufeff\U0010ffff\u2028\\\"'",
    ],
)
async def test_a_password_is_taken_as_it_is(
    app: FastAPI, superuser: AsyncClient, password: str
) -> None:
    await add_user(superuser, "jane", password=password)

    async with client_of(app) as client:
        assert (await log_in(client, "jane", password)).status_code == 200
        others = {password.strip(), password[:-1], password + " ", password.upper()} - {password}
        others |= {password.replace("é", "e\u0301").replace("e\u0301\u0301", "é")} - {password}
        for other in others:
            assert (await log_in(client, "jane", other)).status_code == 401


@pytest.mark.parametrize(
    "password", ["x" * 7, " " * 7, "🐎" * 7, "x" * 129, "", None, 12345678, []]
)
async def test_what_is_no_password_is_refused_without_a_word_of_it(
    app: FastAPI, jane: AsyncClient, superuser: AsyncClient, password: Any
) -> None:
    before = await row_of(app, 1)
    body = {"username": "new", "email": "new@example.org", "password": password}
    own = {"password": password, "current_password": PASSWORD}

    for answer in (
        await superuser.post("/users", json=body),
        await superuser.put("/users/1", json=body),
        await superuser.patch("/users/1", json={"password": password}),
        await jane.patch("/users/me", json=own),
    ):
        assert pointers(answer, 422) == ["/password"]
        assert str(password or "nothing") not in answer.text
    assert await row_of(app, 1) == before


@pytest.mark.parametrize("character", ["\0", "\ud800"])
async def test_a_password_is_of_characters_that_can_be_stored(
    superuser: AsyncClient, jane: AsyncClient, character: str
) -> None:
    password = json.dumps(f"{PASSWORD}{character}")
    requests = [
        (superuser, "PATCH", "/users/1", f'{{"password": {password}}}'),
        (jane, "PATCH", "/users/me", f'{{"password": {password}, "current_password": {password}}}'),
    ]

    for client, method, path, content in requests:
        answer = await client.request(method, path, content=content, headers=JSON)
        assert set(pointers(answer, 422)) <= {"/password", "/current_password"}


async def test_only_a_hash_is_stored_and_each_with_a_salt_of_its_own(
    app: FastAPI, superuser: AsyncClient
) -> None:
    rows = [
        await row_of(app, (await add_user(superuser, name)).json()["id"]) for name in ("a", "b")
    ]

    hashes = {row["hashed_password"] for row in rows if row}
    assert len(hashes) == 2
    assert all(each.startswith("$argon2id$") for each in hashes)
    assert not any(PASSWORD in str(row) for row in rows)


async def test_one_changes_ones_own_names(app: FastAPI, jane: AsyncClient) -> None:
    names = {"username": "jd", "slug": "j-d", "first_name": None, "last_name": "Doe"}

    answer = await jane.patch("/users/me", json=names | CURRENT)

    assert answer.status_code == 200
    assert names.items() <= answer.json().items()
    assert (await jane.get("/users/me")).json() == answer.json()
    assert await is_signed_in(jane)
    assert (await jane.patch("/users/me", json={})).headers["etag"] == answer.headers["etag"]
    stale = await jane.patch("/users/me", json={"last_name": "D"}, headers={"If-Match": '"x"'})
    assert_problem(stale, 412)
    assert (await log_in(client_of(app), "jd")).status_code == 200


@pytest.mark.parametrize("path", ["/users", "/api/users"])
async def test_no_cache_keeps_what_is_said_of_users(
    app: FastAPI, superuser: AsyncClient, jane: AsyncClient, path: str
) -> None:
    nobody, keyed = client_of(app), {"Idempotency-Key": "k"}
    tag = {"If-None-Match": (await jane.get("/users/me")).headers["etag"]}
    joe = {"username": "joe", "email": "joe@example.org", "password": PASSWORD}
    answers = {
        "list": await superuser.get(path),
        "seen": await jane.get(f"{path}/me", headers=tag),
        "csv": await superuser.get(path, headers={"Accept": "text/csv"}),
        "rows": await superuser.get(path, headers={"Accept": "application/x-ndjson"}),
        "created": await superuser.post(path, json=joe, headers=keyed),
        "replayed": await superuser.post(path, json=joe, headers=keyed),
        "tried": await jane.patch(f"{path}/me?dry_run=true", json={"first_name": "J"}),
        "changed": await jane.patch(f"{path}/me", json={"first_name": "J"}),
        "read": await superuser.get(f"{path}/1"),
        "head": await jane.head(f"{path}/me"),
        "deleted": await superuser.delete(f"{path}/2"),
        "methods": await nobody.options(f"{path}/me"),
        "refused": await nobody.get(f"{path}/me"),
        "absent": await superuser.get(f"{path}/9"),
        "nowhere": await superuser.get(f"{path}/1/2"),
        "no method": await superuser.post(f"{path}/me"),
    }

    assert [answer.status_code for answer in answers.values()] == [
        *(200, 304, 200, 200, 201, 201, 200, 200, 200, 200, 204, 204, 401, 404, 404, 405)
    ]
    kept = {name: answer.headers.get_list("cache-control") for name, answer in answers.items()}
    assert kept == dict.fromkeys(answers, ["no-store"])  # noqa: RUF024 - nothing changes it


async def test_the_tag_of_one_user_is_not_that_of_another(
    app: FastAPI, superuser: AsyncClient, jane: AsyncClient
) -> None:
    await add_user(superuser, "john")
    john = await signed_in(app, "john")
    tag = (await jane.get("/users/me")).headers["etag"]

    read = await john.get("/users/me", headers={"If-None-Match": tag})
    stale = await john.patch("/users/me", json={"last_name": "D"}, headers={"If-Match": tag})

    assert (read.status_code, read.json()["username"]) == (200, "john")
    assert_problem(stale, 412)
    assert stale.headers["etag"] == read.headers["etag"]


@pytest.mark.parametrize("name", CREDENTIALS)
async def test_a_new_password_e_mail_or_username_needs_the_current_password(
    app: FastAPI, jane: AsyncClient, name: str
) -> None:
    before, change = await row_of(app, 1), {name: CREDENTIALS[name], "first_name": "J"}

    for current in (
        {},
        {"current_password": OTHER},
        {"current_password": f"{PASSWORD} "},
        {"current_password": "short"},
        {"current_password": None},
    ):
        answer = await jane.patch("/users/me", json=change | current)
        assert pointers(answer, 422) == ["/current_password"]
    assert await row_of(app, 1) == before

    assert (await jane.patch("/users/me", json=change | CURRENT)).status_code == 200
    changed = await row_of(app, 1)
    assert changed is not None
    assert name == "password" or changed[name] == CREDENTIALS[name]
    assert (changed["credentials_changed_at"] is None) == (name == "username")


async def test_the_same_values_need_the_current_password_too(jane: AsyncClient) -> None:
    for body in (
        {"password": PASSWORD},
        {"email": "jane@example.org"},
        {"username": "jane", "email": "jane@example.org"},
    ):
        assert pointers(await jane.patch("/users/me", json=body), 422) == ["/current_password"]


async def test_a_superuser_needs_no_password_to_change_others(
    jane: AsyncClient, superuser: AsyncClient
) -> None:
    assert (await superuser.patch("/users/1", json=CREDENTIALS)).status_code == 200
    assert not await is_signed_in(jane)


async def test_a_new_password_is_that_of_the_next_login(app: FastAPI, jane: AsyncClient) -> None:
    changed = await jane.patch(
        "/users/me", json={"password": OTHER, "current_password": PASSWORD, "first_name": "J"}
    )
    assert (changed.status_code, changed.json()["first_name"]) == (200, "J")
    assert (await log_in(client_of(app), "jane")).status_code == 401
    assert (await log_in(client_of(app), "jane", OTHER)).status_code == 200


def test_the_document_says_what_needs_the_current_password(app: FastAPI) -> None:
    schema = app.openapi()["components"]["schemas"]["UserUpdateMe"]

    assert schema["dependentRequired"] == {key: ["current_password"] for key in CREDENTIALS}


@pytest.mark.parametrize("name", CREDENTIALS)
async def test_who_stole_a_token_cannot_try_passwords(
    app: FastAPI, jane: AsyncClient, name: str
) -> None:
    wrong = {name: CREDENTIALS[name], "current_password": f"{OTHER}!"}
    right = wrong | CURRENT

    for _ in range(app.state.service.settings.login_tries_per_name):
        assert pointers(await jane.patch("/users/me", json=wrong), 422) == ["/current_password"]
    for body in (wrong, right):
        refused = await jane.patch("/users/me", json=body)
        assert_problem(refused, 429, "too-many-requests")
        assert 0 < int(refused.headers["retry-after"]) <= 15 * 60
        assert_headers(refused)

    assert (await jane.patch("/users/me", json={"first_name": "J"})).status_code == 200
    assert_problem(await log_in(client_of(app), "jane@example.org"), 429)


async def change_password(client: AsyncClient, _superuser: AsyncClient) -> Response:
    body = {"password": PASSWORD, "current_password": PASSWORD}
    return await client.patch("/users/me", json=body)


async def change_email(client: AsyncClient, _superuser: AsyncClient) -> Response:
    return await client.patch("/users/me", json={"email": "doe@example.org"} | CURRENT)


async def change_case(client: AsyncClient, _superuser: AsyncClient) -> Response:
    return await client.patch("/users/me", json={"email": "Jane@Example.org"} | CURRENT)


async def change_and_back(client: AsyncClient, superuser: AsyncClient) -> Response:
    await client.patch("/users/me", json={"email": "doe@example.org"} | CURRENT)
    return await superuser.patch("/users/1", json={"email": "jane@example.org"})


async def reset_password(_client: AsyncClient, superuser: AsyncClient) -> Response:
    return await superuser.patch("/users/1", json={"password": PASSWORD})


async def replace(_client: AsyncClient, superuser: AsyncClient) -> Response:
    user = {"username": "jane", "email": "jane@example.org", "password": PASSWORD}
    return await superuser.put("/users/1", json=user)


async def remove_and_add(_client: AsyncClient, superuser: AsyncClient) -> Response:
    await superuser.delete("/users/1")
    return await add_user(superuser, "jane")


@pytest.mark.parametrize(
    "change",
    [
        change_password,
        change_email,
        change_case,
        change_and_back,
        reset_password,
        replace,
        remove_and_add,
    ],
)
async def test_a_changed_password_or_e_mail_ends_all_older_tokens_and_no_newer_one(
    app: FastAPI, jane: AsyncClient, superuser: AsyncClient, change: Any
) -> None:
    elsewhere = await signed_in(app, "JANE@example.org")
    assert await is_signed_in(jane)
    assert await is_signed_in(elsewhere)

    changed = await change(jane, superuser)
    assert changed.is_success
    for _ in range(3):  # right after it, again and again
        assert await is_signed_in(await signed_in(app, "jane"))

    assert not await is_signed_in(jane)
    assert not await is_signed_in(elsewhere)
    detail = assert_problem(await jane.get("/users/me"), 401)["detail"]
    assert detail == "Could not validate credentials"


async def test_a_change_of_names_or_flags_or_of_nothing_ends_no_token(
    jane: AsyncClient, superuser: AsyncClient
) -> None:
    for client, path, body in (
        (jane, "/users/me", {"username": "jd", "slug": "jd", "first_name": None} | CURRENT),
        (jane, "/users/me", {"email": "jane@example.org"} | CURRENT),
        (jane, "/users/me", {"current_password": PASSWORD}),
        (superuser, "/users/1", {"is_superuser": True}),
        (superuser, "/users/1", {"is_superuser": False, "last_name": "Doe"}),
    ):
        assert (await client.patch(path, json=body)).status_code == 200
        assert await is_signed_in(jane)


async def test_a_token_without_the_time_of_its_issue_is_older_than_any_change(
    app: FastAPI, jane: AsyncClient
) -> None:
    undated = token_of(app)
    assert await is_signed_in(undated)

    await change_password(jane, jane)

    assert not await is_signed_in(undated)
    assert not await is_signed_in(token_of(app))


async def test_a_token_of_whole_seconds_counts_from_the_second_of_creation_and_after_a_change(
    app: FastAPI, jane: AsyncClient
) -> None:
    row = await row_of(app, 1)
    assert row
    created: datetime = row["created_at"]
    second = int(created.timestamp())

    assert await is_signed_in(token_of(app, iat=second))
    assert not await is_signed_in(token_of(app, iat=second - 1))
    assert not await is_signed_in(token_of(app, iat=created.timestamp() - 0.001))

    await change_password(jane, jane)
    row = await row_of(app, 1)
    assert row
    changed: datetime = row["credentials_changed_at"]
    assert changed > created
    assert not await is_signed_in(token_of(app, iat=int(changed.timestamp())))
    assert await is_signed_in(token_of(app, iat=int(changed.timestamp()) + 1))
    assert not await is_signed_in(token_of(app, iat=changed.timestamp()))
    assert await is_signed_in(token_of(app, iat=changed.timestamp() + 1e-5))


async def test_who_takes_over_an_e_mail_is_not_reached_by_its_old_tokens(
    app: FastAPI, jane: AsyncClient, superuser: AsyncClient
) -> None:
    await add_user(superuser, "joe")
    joe = await signed_in(app, "joe")

    for client, email in ((jane, "gone@example.org"), (joe, "jane@example.org")):
        changed = await client.patch("/users/me", json={"email": email} | CURRENT)
        assert changed.status_code == 200
    assert not await is_signed_in(jane)
    assert not await is_signed_in(joe)
    joe = await signed_in(app, "joe")
    assert (await joe.get("/users/me")).json()["id"] == 2

    changed = await joe.patch("/users/me", json={"email": "gone2@example.org"} | CURRENT)
    assert changed.status_code == 200
    await add_user(superuser, "jim", email="jane@example.org")
    assert not await is_signed_in(jane)
    assert not await is_signed_in(joe)


async def test_a_deactivated_user_is_out_at_once(
    app: FastAPI, jane: AsyncClient, superuser: AsyncClient
) -> None:
    assert (await superuser.patch("/users/1", json={"is_active": False})).status_code == 200

    assert not await is_signed_in(jane)
    assert (await log_in(client_of(app), "jane")).status_code == 401
    assert_problem(await jane.patch("/users/me", json={"first_name": "J"}), 401)
    assert (await superuser.get("/users/1")).status_code == 200


async def test_who_gets_an_e_mail_that_another_had_is_not_reached_by_its_tokens_without_a_time(
    app: FastAPI, superuser: AsyncClient
) -> None:
    await add_user(superuser, "jane", email="x@example.org")
    claims = {"sub": "x@example.org", "permissions": [], "exp": time.time() + 600}
    headers = {
        "Authorization": f"Bearer {jwt.encode(claims, app.state.service.settings.token_secret)}"
    }
    async with client_of(app) as old:
        assert (await old.get("/users/me", headers=headers)).status_code == 200
        changed = await superuser.patch("/users/1", json={"email": "y@example.org"})
        assert changed.status_code == 200
        await add_user(superuser, "root", email="X@example.org", is_superuser=True)

        assert_problem(await old.get("/users/me", headers=headers), 401)
    assert (await log_in(client_of(app), "root")).status_code == 200


async def test_a_reset_password_is_not_undone_by_who_knows_the_old_one(
    app: FastAPI, jane: AsyncClient, superuser: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reset comes between the check of the current password and the change."""
    hashed = hash_password

    async def reset_meanwhile(password: str) -> str:
        monkeypatch.setattr("app.resources.users.hash_password", hashed)
        reset = await superuser.patch("/users/1", json={"password": f"{PASSWORD} reset"})
        assert reset.status_code == 200
        return await hashed(password)

    for condition in ({}, {"If-Match": "*"}):
        monkeypatch.setattr("app.resources.users.hash_password", reset_meanwhile)
        body = {"password": f"{PASSWORD} thief", "current_password": PASSWORD}
        answer = await jane.patch("/users/me", json=body, headers=condition)
        assert_problem(answer, 412)
        assert (await log_in(client_of(app), "jane", f"{PASSWORD} thief")).status_code == 401
        assert (await log_in(client_of(app), "jane", f"{PASSWORD} reset")).status_code == 200
        await superuser.patch("/users/1", json={"password": PASSWORD})
        jane = await signed_in(app, "jane")


async def test_a_password_that_is_changed_by_sql_ends_tokens_too(
    app: FastAPI, jane: AsyncClient
) -> None:
    async with app.state.service.database.engine.begin() as connection:
        await connection.execute(text("UPDATE users SET hashed_password = 'x' WHERE id = 1"))

    assert not await is_signed_in(jane)


async def test_a_user_who_is_active_again_has_to_sign_in_again(
    app: FastAPI, jane: AsyncClient, superuser: AsyncClient
) -> None:
    for is_active in (False, True):
        changed = await superuser.patch("/users/1", json={"is_active": is_active})
        assert changed.status_code == 200

    assert not await is_signed_in(jane)
    assert await is_signed_in(await signed_in(app, "jane"))


async def test_a_superuser_who_is_one_no_more_is_refused_from_the_next_request_on(
    app: FastAPI, superuser: AsyncClient
) -> None:
    await add_user(superuser, "root", is_superuser=True)
    root = await signed_in(app, "root")
    assert (await root.get("/users")).status_code == 200

    await superuser.patch("/users/1", json={"is_superuser": False})

    assert_problem(await root.get("/users"), 403)
    assert_problem(await root.patch("/users/1", json={"is_superuser": True}), 403)
    assert_problem(await root.patch("/users/me", json={"is_superuser": True}), 422)


OWN = f"/users/{PRINCIPAL}"
REMOVALS: list[tuple[str, dict[str, Any] | None]] = [
    ("DELETE", None),
    ("PATCH", {"is_superuser": False}),
    ("PATCH", {"is_active": False}),
    ("PATCH", {"is_active": False, "is_superuser": False, "first_name": "x"}),
    ("PUT", {"username": "a", "email": "a@example.org", "password": PASSWORD}),
    (
        "PUT",
        {
            "username": "a",
            "email": "a@example.org",
            "password": PASSWORD,
            "is_superuser": True,
            "is_active": False,
        },
    ),
]


@pytest.mark.parametrize(("method", "body"), REMOVALS)
async def test_the_last_superuser_cannot_be_removed(
    app: FastAPI, superuser: AsyncClient, method: str, body: dict[str, Any] | None
) -> None:
    await add_user(superuser, "retired", is_superuser=True, is_active=False)
    before = await row_of(app, PRINCIPAL)

    refused = await superuser.request(method, OWN, json=body)

    assert assert_problem(refused, 409, "conflict")["detail"] == LAST
    assert await row_of(app, PRINCIPAL) == before
    assert (await superuser.get("/users")).status_code == 200

    await add_user(superuser, "second", is_superuser=True)
    assert (await superuser.request(method, OWN, json=body)).is_success


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM users WHERE is_superuser",
        "DELETE FROM users",
        "UPDATE users SET is_superuser = false",
        "UPDATE users SET is_active = false, version = version + 1",
        "WITH gone AS (DELETE FROM users RETURNING id) SELECT count(*) FROM gone",
        "MERGE INTO users USING (VALUES (1)) AS one ON true WHEN MATCHED THEN DELETE",
    ],
)
async def test_the_last_superuser_cannot_be_removed_by_sql_either(
    app: FastAPI, superuser: AsyncClient, session: AsyncSession, statement: str
) -> None:
    await add_user(superuser, "second", is_superuser=True)
    await add_user(superuser, "user")

    with pytest.raises(DBAPIError, match=LAST) as raised:
        await session.exec(text(statement))  # type: ignore[call-overload]
    await session.rollback()

    assert getattr(raised.value.orig, "sqlstate", None) == "23000"
    assert await row_of(app, PRINCIPAL)
    await session.exec(text("UPDATE users SET is_superuser = (id = 1)"))  # type: ignore[call-overload]
    await session.commit()
    assert_problem(await superuser.get("/users"), 403)


async def superusers(app: FastAPI) -> int:
    """Return how many superusers can sign in."""
    query = text("SELECT count(*) FROM users WHERE is_superuser AND is_active")
    async with app.state.service.database.engine.begin() as connection:
        number: int = await connection.scalar(query)
        return number


async def test_of_two_superusers_who_remove_each_other_at_once_one_stays(
    app: FastAPI, superuser: AsyncClient
) -> None:
    second = client_of(app, Authorization=await sign_in(app, PRINCIPAL + 1))

    answers = await asyncio.gather(
        superuser.patch(f"/users/{PRINCIPAL + 1}", json={"is_superuser": False}), second.delete(OWN)
    )

    statuses = sorted(answer.status_code for answer in answers)
    assert statuses[0] in {200, 204}
    assert statuses[1] in {401, 403, 409}
    assert await superusers(app) == 1


@pytest.mark.parametrize("statement", ["DELETE FROM users", "UPDATE users SET is_active = false"])
async def test_who_removes_the_other_while_he_is_removed_waits_and_is_refused(
    app: FastAPI, superuser: AsyncClient, session: AsyncSession, statement: str
) -> None:
    second = client_of(app, Authorization=await sign_in(app, PRINCIPAL + 1))
    async with app.state.service.database.engine.connect() as connection:
        await connection.execute(text(f"{statement} WHERE id = {PRINCIPAL + 1}"))
        removal = asyncio.create_task(second.patch(OWN, json={"is_superuser": False}))
        await waiting(await session.connection(), 1)
        await connection.commit()
        refused = await removal

    assert assert_problem(refused, 409)["detail"] == LAST
    assert await superusers(app) == 1
    assert (await superuser.get("/users")).status_code == 200


@pytest.mark.parametrize(
    "row",
    [
        {"email": "no mail"},
        {"username": "a@b"},
        {"slug": "-"},
        {"email": "JANE@example.org"},
        {"username": "JANE"},
        {"slug": "JANE"},
    ],
)
async def test_the_table_holds_what_the_types_promise(
    app: FastAPI, jane: AsyncClient, row: dict[str, str]
) -> None:
    assert jane
    values = {"email": "x@example.org", "username": "x", "slug": "x", "hashed_password": "x", **row}

    with pytest.raises(DBAPIError) as raised:
        async with app.state.service.database.engine.begin() as connection:
            await connection.execute(table_of(User).insert().values(values))
    assert getattr(raised.value.orig, "sqlstate", None) in {"23505", "23514"}


@pytest.mark.parametrize(
    "email",
    [
        *("a", "a@", "@a", "a@b@c", "a b@c", "a@b c", "a@-b", "a@b-", "a@b..c", "a@.b", "a@b."),
        *('"a"@b', "a@[1.2.3.4]", "a@b\n", "é@b", "a@é", "a\0@b", "a@b,c@d", "a@b>", "a;@b"),
        *("a@b\r\nBcc: c@d", "\u212aevin@x.org", "a@" + "b" * 64, "a@" + "b." * 130),
    ],
)
async def test_what_is_no_e_mail_is_refused(superuser: AsyncClient, email: str) -> None:
    body = {"username": "x", "email": email, "password": PASSWORD}

    if email.strip() == "a@b":
        assert (await superuser.post("/users", json=body)).json()["email"] == "a@b"
    else:
        assert pointers(await superuser.post("/users", json=body), 422) == ["/email"]


@pytest.mark.parametrize("username", ["a@b", "a b", "-a", ".a", "", "é", "a/b", "a\0", "a" * 151])
async def test_what_is_no_name_is_refused(superuser: AsyncClient, username: str) -> None:
    body = {"username": username, "email": "x@example.org", "password": PASSWORD}

    assert pointers(await superuser.post("/users", json=body), 422) == ["/username"]


async def test_of_many_who_take_a_name_at_once_one_has_it(superuser: AsyncClient) -> None:
    names = ["jane", "Jane", "JANE", "jAnE"] * 2

    answers = await asyncio.gather(
        *(
            superuser.post(
                "/users",
                json={"username": name, "email": f"{n}@example.org", "password": PASSWORD},
            )
            for n, name in enumerate(names)
        )
    )

    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
