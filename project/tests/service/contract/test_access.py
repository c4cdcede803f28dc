"""Who may do what: every route, for everybody who may ask, under all settings that matter."""

import asyncio
import base64
import hmac
import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

import httpx
import pytest
from fastapi import FastAPI
from httpx import AsyncClient, Response
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.engine import URL
from starlette.requests import Request
from starlette.responses import Response as Starlette
from starlette.types import Message

from app.main import ALIASES, create_app
from app.settings import Settings
from songbook.auth.permissions import NEEDS, SIGNED_IN
from songbook.http.routing import Route, Router
from tests.support.asserts import assert_headers, assert_problem
from tests.support.clients import PRINCIPAL, client_of, sign_in, sign_in_entitled
from tests.support.databases import all_rows, spelled
from tests.support.resources import EVERY, RESOURCES
from tests.support.waiting import PATIENCE

# The last row that fits says what becomes of a request: it is answered, or refused with a status.
# `nobody` is everyone without a good token; `another` a user; `oneself` the user of the address.
# A rule of one's own needs its rows here. `entitled` is a user with the columns of `ENTITLED` (in
# tests/support/clients.py), and the only one whose token has permissions. By the rules `owner` and
# `shared` everybody may ask, and the records of another owner are as if they were not there, but
# for the public ones. `yes/401`: who has a bad token is refused what others may do without any.
WHO_MAY = """
rule       method   setting            nobody  another  entitled  oneself  superuser

public     any      any                yes     yes      -         -        yes
open       any      any                yes     yes      -         -        yes
open       writing  CLOSED_WRITES      401     yes      -         -        yes
signed-in  any      any                401     yes      -         -        yes
superuser  any      any                401     403      -         -        yes
profile    any      any                401     yes      -         yes      yes
profile    any      PRIVATE_PROFILES   401     404      -         yes      yes
account    any      any                401     403      -         403      yes
account    any      PRIVATE_PROFILES   401     404      -         403      yes
owner      any      any                401     yes      -         -        yes
needs      any      any                401     403      yes       -        403
shared     any      any                yes/401 yes      -         -        yes
"""
HEAD, *ROWS = [line.split() for line in WHO_MAY.strip().splitlines() if line]
TABLE = [dict(zip(HEAD, row, strict=True)) for row in ROWS]

SETTINGS = [
    frozenset(),
    frozenset({"CLOSED_WRITES"}),
    frozenset({"PRIVATE_PROFILES"}),
    frozenset({"CLOSED_WRITES", "PRIVATE_PROFILES"}),
]
ANOTHER, ONESELF, DEACTIVATED, USER, WRITER = range(PRINCIPAL + 1, PRINCIPAL + 6)
JSON = {"Content-Type": "application/json"}
ENTRY = {"position": 2}


class Operation(NamedTuple):
    """A method of an address, as the OpenAPI document has it."""

    method: str
    path: str
    rule: str
    has_body: bool = False

    @property
    def paths(self) -> list[str]:
        """Return all addresses at which it is."""
        aliases = [
            alias + self.path.removeprefix(path)
            for alias, path in ALIASES.items()
            if f"{self.path}/".startswith((f"{path}/", f"{path}."))
        ]
        slashed = [] if self.path == "/" else [f"{self.path}/"]
        return [self.path, *slashed, *aliases]

    def outcome(
        self, settings: frozenset[str], column: str, header: str | None = "Bearer none"
    ) -> str:
        """Return what the table says becomes of it, for nobody with this header."""
        fitting = [
            row
            for row in TABLE
            if row["rule"] == self.rule.partition(" ")[0]
            and (row["method"] == "any" or self.method not in {"GET", "HEAD"})
            and row["setting"] in {"any", *settings}
        ]
        assert fitting, f"add to WHO_MAY who may do what the rule `{self.rule}` allows"
        without, _, bad = fitting[-1][column].partition("/")
        return bad if bad and header is not None else without

    def is_refused(
        self, settings: frozenset[str], column: str, header: str | None = "Bearer none"
    ) -> bool:
        """Return whether its rule refuses it, whatever it is about."""
        return self.outcome(settings, column, header) not in {"yes", "-"}

    def answered(
        self,
        settings: frozenset[str],
        column: str,
        header: str | None = "Bearer none",
        *,
        with_body: bool,
    ) -> str:
        """Return what becomes of it for the record of another owner."""
        is_hidden = self.rule == "owner" and column == "another" and "{id}" in self.path
        is_read = with_body or not self.has_body  # a body that is missing is refused before
        return "404" if is_hidden and is_read else self.outcome(settings, column, header)


def operations(app: FastAPI) -> Iterator[Operation]:
    """Give every operation of the document, and HEAD where there is GET."""
    for path, methods in app.openapi()["paths"].items():
        for method, operation in methods.items():
            has_body = "requestBody" in operation
            yield Operation(method.upper(), path, operation["x-rule"], has_body)
            if method == "get":
                yield Operation("HEAD", path, operation["x-rule"])


def at_row(path: str, id: int | str) -> str:
    """Return a path of the document with an id in all places of one."""
    return re.sub(r"\{\w+\}", str(id), path)


def encoded(part: Any) -> str:
    """Return a part of a token."""
    written = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(written).rstrip(b"=").decode()


def forged(
    claims: dict[str, Any],
    secret: str,
    header: dict[str, Any] | None = None,
    digest: str = "sha256",
) -> str:
    """Return an Authorization header with a token of any kind; a claim of None is left out."""
    stated = {name: value for name, value in claims.items() if value is not None}
    signed = f"{encoded({'alg': 'HS256', 'typ': 'JWT'} | (header or {}))}.{encoded(stated)}"
    return f"Bearer {signed}.{encoded(hmac.digest(secret.encode(), signed.encode(), digest))}"


def bad_credentials(secret: str) -> dict[str, str | None]:
    """Return what identifies nobody: but for one thing, each is the token of the superuser."""
    email, now = f"user{PRINCIPAL}@example.org", time.time()
    claims = {"sub": email, "permissions": [], "iat": now, "exp": now + 300}
    good = forged(claims, secret)
    unsigned, signature = good.rpartition(".")[::2]
    none, _ = forged(claims, secret, {"alg": "none"}).rsplit(".", 1)
    return {
        "no header": None,
        "an empty one": "",
        "another scheme": "Basic dXNlcjpwYXNz",
        "the token of another scheme": good.replace("Bearer", "Token"),
        "no token": "Bearer",
        "a malformed token": "Bearer a.b.c",
        "two tokens": f"{good}, {good}",
        "no signature": f"{unsigned}.",
        "half a signature": f"{unsigned}.{signature[:20]}",
        "another signature": forged(claims, secret + "x"),
        "the signature of an empty secret": forged(claims, ""),
        "other claims than were signed": ".".join(
            [good.split(".")[0], encoded({**claims, "sub": email}), signature[::-1]]
        ),
        "the algorithm none": f"{none}.",
        "the algorithm none, signed": forged(claims, secret, {"alg": "none"}),
        "the algorithm None": forged(claims, secret, {"alg": "None"}).rsplit(".", 1)[0] + ".",
        "the algorithm HS512": forged(claims, secret, {"alg": "HS512"}, "sha512"),
        "the algorithm RS256": forged(claims, secret, {"alg": "RS256"}),
        "no algorithm": forged(claims, secret, {"alg": None}),
        "an extension that counts": forged(claims, secret, {"crit": ["x"], "x": 1}),
        "a key of its own": forged(claims, "own" * 12, {"jwk": {"kty": "oct", "k": "own" * 12}}),
        "a token of another kind": forged(claims, secret, {"typ": "refresh"}),
        "expired": forged({**claims, "exp": now - 31}, secret),
        "not issued yet": forged({**claims, "iat": now + 3600}, secret),
        "not valid yet": forged({**claims, "nbf": now + 3600}, secret),
        "no sub": forged({**claims, "sub": None}, secret),
        "no permissions": forged({**claims, "permissions": None}, secret),
        "no exp": forged({**claims, "exp": None}, secret),
        "permissions that are no array": forged({**claims, "permissions": "all"}, secret),
        "a number as sub": forged({**claims, "sub": PRINCIPAL}, secret),
        "the name as sub": forged({**claims, "sub": f"user{PRINCIPAL}"}, secret),
        "a pattern as sub": forged({**claims, "sub": "%@%"}, secret),
        "of before the user was created": forged({**claims, "iat": now - 600.5}, secret),
        "an unknown user": forged({**claims, "sub": "nobody@example.org"}, secret),
        "a deactivated user": forged({**claims, "sub": f"user{DEACTIVATED}@example.org"}, secret),
    }


async def add_people(app: FastAPI) -> dict[str, str]:
    """Store one of each; return the Authorization headers of those who have an account."""
    await sign_in(app, DEACTIVATED)
    async with app.state.service.database.engine.begin() as connection:
        superuser = await sign_in(app)
        await connection.execute(
            text("UPDATE users SET is_active = false WHERE id = :id"), {"id": DEACTIVATED}
        )
    return {
        "superuser": superuser,
        "another": await sign_in(app, ANOTHER, is_superuser=False),
        "oneself": await sign_in(app, ONESELF, is_superuser=False),
        "entitled": await sign_in_entitled(app, USER, is_superuser=False),
    }


async def add_rows(app: FastAPI) -> None:
    """Store a record of each resource, the first of its table, as somebody who asks for nothing."""
    async with app.state.service.database.engine.begin() as connection:
        for other in EVERY:
            if other.lacks:
                await other.insert(connection)
    async with client_of(app, Authorization=await sign_in_entitled(app, WRITER)) as client:
        for resource in RESOURCES:
            given = {"is_public": True} if "is_public" in resource.fields else {}
            assert (await resource.add(client, **given)).json()["id"] == 1
        await client.post("/playlists/1/entries", json={"entries": [{"song_id": 1}]})


def challenge(operation: Operation, expected: str) -> str | None:
    """Return the WWW-Authenticate of a refusal."""
    if expected == "403" and (scopes := operation.rule.removeprefix("needs ")) != operation.rule:
        return f'Bearer error="insufficient_scope", scope="{scopes}"'
    return "Bearer" if expected == "401" else None


def told(answer: Response) -> str:
    """Return the outcome that an answer is."""
    assert answer.status_code < 500
    return str(answer.status_code) if answer.status_code in {401, 403, 404} else "yes"


scoped = Router(prefix="/scoped", dependencies=[NEEDS("scoped:use", "scoped:more")])


@scoped.get("")
@scoped.put("/{id}")
async def use_scope() -> Starlette:
    """Answer to a token with the permissions."""
    return Starlette()


@pytest.fixture(params=SETTINGS, ids=lambda names: "+".join(sorted(names)) or "no-setting")
async def service(
    request: pytest.FixtureRequest,
    database_url: URL,
    client: AsyncClient,  # noqa: ARG001 - it empties the tables
) -> AsyncIterator[tuple[frozenset[str], FastAPI]]:
    """Give the service under each of the settings that the table names."""
    names: frozenset[str] = request.param
    given: dict[str, Any] = {name.lower(): True for name in names}
    app = create_app(Settings(database_url=spelled(database_url), **given))
    app.router.routes.extend(scoped.routes)
    async with app.router.lifespan_context(app):
        yield names, app


@pytest.mark.long
async def test_every_route_is_answered_to_whom_the_table_says_and_to_nobody_else(
    service: tuple[frozenset[str], FastAPI],
) -> None:
    settings, app = service
    people = await add_people(app)
    await add_rows(app)
    before = await all_rows(app)
    askers: list[tuple[str, str, str | None]] = [
        (column, column, header) for column, header in people.items()
    ]
    askers += [
        ("nobody", name, header)
        for name, header in bad_credentials(app.state.service.settings.token_secret).items()
    ]
    # what is answered must not change anything: the condition is of no version
    common = {"If-Match": '"none"'}

    wrong, cells = [], 0
    async with client_of(app, **common) as client:
        for operation in operations(app):
            for column, name, header in askers:
                expected = operation.answered(settings, column, header, with_body=False)
                if expected == "-":
                    continue
                headers = {} if header is None else {"Authorization": header}
                # of the many who are nobody, one asks at the other addresses too
                several = column != "nobody" or name == "no header"
                for path in operation.paths if several else operation.paths[:1]:
                    at = at_row(path, ONESELF if column == "oneself" else 1)
                    answer = await client.request(operation.method, at, headers=headers)
                    cells += 1
                    if told(answer) != expected:
                        wrong.append((operation.method, at, name, expected, answer.status_code))
                        continue
                    if answer.is_success and operation.rule in {"owner", "shared"}:
                        assert answer.headers["cache-control"] == "private, no-cache", at
                    if expected != "yes":
                        assert_headers(answer)
                        assert answer.headers.get("www-authenticate") == challenge(
                            operation, expected
                        )
                        if operation.method != "HEAD":
                            assert_problem(answer, int(expected))

    assert wrong == []
    assert await all_rows(app) == before
    print(f"{cells} requests")


@pytest.mark.parametrize("service", SETTINGS[-1:], indirect=True, ids=["all-settings"])
async def test_what_is_refused_to_somebody_does_nothing(
    service: tuple[frozenset[str], FastAPI],
) -> None:
    settings, app = service
    people = await add_people(app)
    await add_rows(app)
    before = await all_rows(app)
    bodies = {resource.path: resource.body() for resource in EVERY}

    refused = 0
    async with client_of(app) as client:
        for operation in operations(app):
            body = bodies.get(re.sub(r"(/\w+).*", r"\1", operation.path))
            if "/entries" in operation.path:
                body = {"entries": [{"song_id": 1}]} if operation.method == "POST" else ENTRY
            for column, header in {"nobody": "Bearer none", **people}.items():
                expected = operation.answered(settings, column, with_body=True)
                if expected in {"yes", "-"}:
                    continue
                path = at_row(operation.path, ONESELF if column == "oneself" else 1)
                answer = await client.request(
                    operation.method, path, json=body, headers={"Authorization": header}
                )
                # what a handler of one's own takes is not known here: its fields may be others
                is_own = answer.status_code == 422 and expected == "404"
                assert told(answer) == expected or is_own
                refused += 1

    assert await all_rows(app) == before
    assert refused > 20


async def test_who_gives_no_token_is_told_so_and_who_gives_a_bad_one_not_what_is_wrong_with_it(
    app: FastAPI, client: AsyncClient
) -> None:
    await add_people(app)

    for name, header in bad_credentials(app.state.service.settings.token_secret).items():
        headers = {} if header is None else {"Authorization": header}
        problem = assert_problem(await client.get("/users/1", headers=headers), 401)
        expected = "Could not validate credentials"
        if not (header or "").startswith("Bearer"):
            expected = "Not authenticated"
        assert (name, problem["detail"]) == (name, expected)
        assert problem["type"] == "/problems/unauthenticated"


@pytest.mark.parametrize("spelled", ["Bearer", "bearer", "BEARER", "Bearer "])
async def test_the_scheme_is_read_in_any_case(
    app: FastAPI, client: AsyncClient, spelled: str
) -> None:
    header = (await sign_in(app)).replace("Bearer", spelled)

    assert (await client.get("/users/me", headers={"Authorization": header})).status_code == 200


async def test_a_token_counts_nowhere_but_in_its_header(app: FastAPI, client: AsyncClient) -> None:
    _, token = (await sign_in(app)).split()
    headers = [
        {"Cookie": f"access_token={token}; Authorization=Bearer {token}"},
        {"X-Authorization": f"Bearer {token}"},
        {"Proxy-Authorization": f"Bearer {token}"},
        {"X-Forwarded-User": f"user{PRINCIPAL}@example.org"},
        {"Authorization": token},
    ]

    for each in headers:
        assert_problem(await client.get("/users/me", headers=each), 401)
    for name in ("access_token", "token", "authorization"):
        assert_problem(await client.get("/users/me", params={name: token}), 401)
        assert_problem(await client.patch("/users/me", json={name: token}), 401)


async def test_of_two_authorizations_the_first_counts(app: FastAPI, client: AsyncClient) -> None:
    good, other = await sign_in(app), await sign_in(app, ANOTHER, is_superuser=False)

    both = [("Authorization", other), ("Authorization", good)]
    assert_problem(await client.get("/users", headers=both), 403)
    both = [("Authorization", "Basic x"), ("Authorization", good)]
    assert_problem(await client.get("/users", headers=both), 401)


@pytest.mark.parametrize(
    "path",
    [
        *("/users/", "//users", "/users//", "/users/.", "/./users", "/songs/../users", "/users;x"),
        *("/users%2f", "/users%2F1", "/%75sers", "/users?limit=1", "/users%3f", "/users%00"),
        *("/users%0a", "/users/1%0a", "/users/%31", "/users/1/", "/users/1.json", "/USERS"),
        *("/users/1%20", "/users/me%2f", "/users/m%65", "/users/me%00", "/users/me;x", "/users/ME"),
        *("/api/users", "/api/users/", "/api//users", "/api/users/me/", "/api/users%2f1"),
        *("/api/../users", "/api/v1/todo/../../users", "/docs/../users", "/docs/assets/../users"),
    ],
)
async def test_no_spelling_of_an_address_leads_past_its_rule(
    app: FastAPI, client: AsyncClient, path: str
) -> None:
    await add_people(app)
    address = httpx.URL("http://songbook").copy_with(raw_path=path.encode())

    for method in ("GET", "HEAD", "POST", "PATCH", "DELETE"):
        request = client.build_request(method, address, json={"is_superuser": True})
        assert (await client.send(request)).status_code in {401, 404, 405}


async def test_no_header_changes_the_method_or_the_address(
    app: FastAPI, client: AsyncClient
) -> None:
    await add_people(app)
    before = await all_rows(app)
    headers = {
        "X-HTTP-Method-Override": "DELETE",
        "X-Method-Override": "DELETE",
        "X-Original-URL": f"/users/{ANOTHER}",
        "X-Rewrite-URL": f"/users/{ANOTHER}",
        "X-Forwarded-Prefix": "/api",
        "X-Forwarded-For": "127.0.0.1",
        "Forwarded": "for=127.0.0.1",
    }

    assert (await client.get("/ping", headers=headers)).json() == {"ping": "pong!"}
    assert_problem(await client.get(f"/users/{ANOTHER}", headers=headers), 401)
    assert await all_rows(app) == before


async def test_options_tells_everyone_the_methods(app: FastAPI, client: AsyncClient) -> None:
    for path, methods in app.openapi()["paths"].items():
        for credentials in ({}, {"Authorization": "Bearer none"}):
            answer = await client.options(at_row(path, 7), headers=credentials)
            assert (answer.status_code, answer.content) == (204, b"")
            assert {method.upper() for method in methods} <= {*answer.headers["allow"].split(", ")}
            assert_headers(answer)


@pytest.mark.parametrize("service", SETTINGS[-1:], indirect=True, ids=["all-settings"])
async def test_who_asks_is_looked_at_before_what_is_asked(
    service: tuple[frozenset[str], FastAPI],
) -> None:
    settings, app = service
    people = await add_people(app)
    asked: list[dict[str, Any]] = [
        {"content": b"{", "headers": JSON},
        {"content": b" " * 65537, "headers": JSON},
        {"content": b"x", "headers": {"Content-Type": "text/plain"}},
        {"content": b"x", "headers": {"Content-Encoding": "gzip"}},
        {"headers": {"If-Match": "x", "If-None-Match": "x"}},
        {"params": {"limit": "x", "nothing": "1"}},
    ]

    async with client_of(app) as client:
        for operation in operations(app):
            for column, header in {"nobody": "Bearer none", "another": people["another"]}.items():
                expected = operation.outcome(settings, column)
                # who is no superuser may not learn whether there is such a user, or such an id
                ids = ["999", "0", "9" * 300] + ["x", "-1"] * (expected != "404")
                for options in asked if operation.is_refused(settings, column) else []:
                    for given in ids if "{id}" in operation.path else ids[:1]:
                        headers = {**options.get("headers", {}), "Authorization": header}
                        answer = await client.request(
                            operation.method,
                            at_row(operation.path, given),
                            **{**options, "headers": headers},
                        )
                        assert (operation, given, told(answer)) == (operation, given, expected)


async def spoken(app: FastAPI, method: str, path: str, headers: dict[str, str]) -> int:
    """Ask with a body that is never sent; return the status of the answer."""
    sent: list[Message] = []

    async def receive() -> Message:
        pytest.fail("the body was read")

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(name.lower().encode(), text.encode()) for name, text in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("songbook", 80),
    }
    async with asyncio.timeout(PATIENCE):
        await app(scope, receive, send)
    status: int = sent[0]["status"]
    return status


@pytest.mark.parametrize("service", SETTINGS[-1:], indirect=True, ids=["all-settings"])
async def test_not_a_byte_of_the_body_is_read_of_somebody_who_is_refused(
    service: tuple[frozenset[str], FastAPI],
) -> None:
    settings, app = service
    people = await add_people(app)
    headers = {"Content-Type": "application/json", "Content-Length": "9"}

    for operation in operations(app):
        path = at_row(operation.path, 1)
        for column, header in {"nobody": "", "another": people["another"]}.items():
            if operation.is_refused(settings, column):
                asked = headers | {"Authorization": header}
                status = await spoken(app, operation.method, path, asked)
                expected = int(operation.outcome(settings, column))
                assert (operation, status) == (operation, expected)


class Note(BaseModel):
    """A body of a route that FastAPI itself calls."""

    text: str


async def test_a_handler_that_fastapi_calls_is_guarded_before_its_body_is_read_too(
    app: FastAPI, database_url: URL, client: AsyncClient
) -> None:
    router = Router(dependencies=[SIGNED_IN])

    @router.post("/notes")
    async def create_note(request: Request, body: Note) -> Note:
        return Note(text=request.method + body.text)

    header = await sign_in(app)
    with_notes = create_app(Settings(database_url=spelled(database_url)))
    with_notes.router.routes.extend(router.routes)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(with_notes.router.lifespan_context(with_notes))
        client = await stack.enter_async_context(client_of(with_notes))
        [route] = router.routes
        assert isinstance(route, Route)
        assert route.direct is None

        for content in (b"", b"{", b"{}"):
            assert_problem(await client.post("/notes", content=content, headers=JSON), 401)
        assert await spoken(with_notes, "POST", "/notes", JSON) == 401
        client.headers["Authorization"] = header
        assert_problem(await client.post("/notes"), 415)
        assert (await client.post("/notes", json={"text": "!"})).json() == {"text": "POST!"}


async def test_a_route_without_a_rule_or_with_two_cannot_be_made() -> None:
    async def read_nothing() -> Note:
        return Note(text="")

    with pytest.raises(TypeError, match="/nothing needs one permission"):
        Router().get("/nothing")(read_nothing)
    with pytest.raises(TypeError, match="/nothing needs one permission"):
        Router(dependencies=[SIGNED_IN]).get("/nothing", dependencies=[SIGNED_IN])(read_nothing)


async def test_what_is_public_is_named_here(app: FastAPI) -> None:
    """Whoever opens another address to everyone under all settings has to say so."""
    public = {(each.method, each.path) for each in operations(app) if each.rule == "public"}

    paths = ("/", "/ping", "/livez", "/readyz", "/startupz")
    pages = {(method, path) for method in ("GET", "HEAD") for path in paths}
    assert public == {("POST", "/api/auth/token"), *pages}


async def test_every_address_but_those_of_the_documents_and_the_console_has_a_rule(
    app: FastAPI,
) -> None:
    named = {row["rule"] for row in TABLE}
    others = [
        str(getattr(route, "path", "")) for route in app.routes if not isinstance(route, Route)
    ]
    pages = [path for path in others if path.startswith(("/docs", "/api/docs", "/console"))]

    assert set(others) == {"/openapi.json", *pages}
    assert {route.permission.name for route in app.routes if isinstance(route, Route)} <= named
    library = {"needs", "owner", "shared"}  # which a service need not use
    assert named - {operation.rule for operation in operations(app)} <= library


def test_a_rule_of_ones_own_has_to_say_in_the_table_who_may() -> None:
    with pytest.raises(AssertionError, match="add to WHO_MAY who may do what the rule `editor`"):
        Operation("GET", "/memos", "editor").outcome(frozenset(), "another")


@pytest.mark.parametrize("service", SETTINGS, indirect=True)
async def test_the_document_asks_for_a_token_where_the_service_does(
    service: tuple[frozenset[str], FastAPI],
) -> None:
    settings, app = service
    for operation in operations(app):
        if operation.method != "HEAD":
            told = app.openapi()["paths"][operation.path][operation.method.lower()]
            asks = operation.outcome(settings, "nobody", None) == "401"
            security = told["security"]
            assert (operation, bool(security) and {} not in security) == (operation, asks)
            for status in {"401", operation.outcome(settings, "another")} - {"yes"} if asks else ():
                assert status in told["responses"]
