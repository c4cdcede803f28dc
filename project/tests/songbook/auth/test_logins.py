"""Logins: a token for a password; nothing for who guesses, neither by time, words nor number."""

import asyncio
import http.client
import json
import random
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from threading import Event
from typing import Any

import httpx
import jwt
import pytest
from fastapi import FastAPI
from httpx import AsyncClient, Response
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlmodel.ext.asyncio.session import AsyncSession

from songbook.auth import passwords
from tests.support.asserts import assert_headers, assert_problem
from tests.support.clients import HASHER, add_user, client_of, log_in, sign_in, signed_in
from tests.support.databases import execute, spelled, waiting
from tests.support.leaks import PASSWORD
from tests.support.marks import slow
from tests.support.processes import Service
from tests.support.services import SAMPLES
from tests.support.waiting import wait_until

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
TOKEN = "/api/auth/token"
OTHER = f"{PASSWORD}-2"

add_member = partial(add_user, path="/members")


async def test_a_login_is_answered_with_a_token(app: FastAPI, superuser: AsyncClient) -> None:
    await add_member(superuser, "jane")
    before = time.time()

    async with client_of(app) as client:
        answer = await log_in(client, "jane")

    assert answer.status_code == 200
    assert_headers(answer, cache="no-store")
    assert answer.json() == {"access_token": answer.json()["access_token"], "token_type": "bearer"}
    token = answer.json()["access_token"]
    claims = jwt.decode(token, app.state.service.settings.token_secret, ["HS256"])
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}
    assert set(claims) == {"sub", "permissions", "iat", "exp"}
    assert (claims["sub"], claims["permissions"]) == ("jane@example.org", [])
    assert before - 1 < claims["iat"] < time.time() + 1
    assert claims["exp"] == int(claims["iat"] + 30 * 60)


@pytest.mark.parametrize(
    "name", ["jane", "JANE", " jane\t", "jane@example.org", "Jane@EXAMPLE.org ", "\u3000jane"]
)
async def test_a_user_is_named_in_any_case_or_by_the_e_mail(
    app: FastAPI, superuser: AsyncClient, name: str
) -> None:
    await add_member(superuser, "jane")

    async with client_of(app) as client:
        assert (await log_in(client, name)).status_code == 200


@pytest.mark.parametrize(
    "name",
    ["%", "jane%", "j_ne", "jane' OR '1'='1", "jane--", "1", "jane\u200b", "ja\u0301ne", "*", "\\"],
)
async def test_a_name_that_is_nearly_one_is_none(
    app: FastAPI, superuser: AsyncClient, name: str
) -> None:
    await add_member(superuser, "jane")

    async with client_of(app) as client:
        assert_problem(await log_in(client, name), 401, "unauthenticated")


@pytest.mark.parametrize(
    "more", ["", "&grant_type=password", "&grant_type=", "&scope=&client_id=x&client_secret=y"]
)
async def test_what_an_oauth_client_sends_beside_it_is_of_no_account(
    app: FastAPI, superuser: AsyncClient, more: str
) -> None:
    await add_member(superuser, "jane")
    client = client_of(app, Authorization="Basic eDp5", **FORM)

    answer = await client.post(TOKEN, content=f"username=jane&password={PASSWORD}{more}")

    assert answer.status_code == 200


WHOLE = f"username=jane&password={PASSWORD}"


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (WHOLE, {}, 415),
        (WHOLE, {"Content-Type": "text/plain"}, 415),
        (WHOLE, {"Content-Type": "multipart/form-data; boundary=x"}, 415),
        (WHOLE, {"Content-Type": "application/json"}, 415),
        (WHOLE, {**FORM, "Content-Encoding": "gzip"}, 415),
        (WHOLE, {"Content-Type": f"{FORM['Content-Type']}; charset=latin-1"}, 415),
        (json.dumps({"username": "jane", "password": PASSWORD}), FORM, 422),
        (
            json.dumps({"username": "jane", "password": PASSWORD}),
            {"Content-Type": "application/json"},
            415,
        ),
        (f"{WHOLE}&password={PASSWORD}", FORM, 400),
        (f"{WHOLE}&username=joe", FORM, 400),
        (f"{WHOLE}&x=1&x=1", FORM, 400),
        (f"{WHOLE}{'&'.join(f'x{n}=1' for n in range(101))}", FORM, 400),
        (f"{WHOLE}%ff", FORM, 400),
        (f"{WHOLE}%ed%a0%80", FORM, 400),
        (b"username=jane&password=\xff", FORM, 400),
        ("", FORM, 422),
        ("username=jane", FORM, 422),
        (f"password={PASSWORD}", FORM, 422),
        (f"username=&password={PASSWORD}", FORM, 422),
        (f"username=%20&password={PASSWORD}", FORM, 422),
        (f"username=a%00&password={PASSWORD}", FORM, 422),
        (f"username={'a' * 255}&password={PASSWORD}", FORM, 422),
        (f"{WHOLE}&grant_type=client_credentials", FORM, 422),
        (f"username=jane&password={'x' * 65536}", FORM, 413),
    ],
)
async def test_what_is_no_form_of_a_login_is_refused(
    client: AsyncClient, content: str | bytes, headers: dict[str, str], status: int
) -> None:
    answer = await client.post(TOKEN, content=content, headers=headers)

    assert_problem(answer, status)
    assert_headers(answer)


async def test_a_password_may_be_any_text_here(app: FastAPI, superuser: AsyncClient) -> None:
    await add_member(superuser, "jane")

    for name in ("jane", "nobody"):
        async with client_of(app) as client:
            for password in ("", "\0", "a\0b", " ", "x" * 60000, "🐎", "$argon2id$", PASSWORD[:-1]):
                assert_problem(await log_in(client, name, password), 401)


async def test_a_failed_login_tells_nothing_of_the_user(
    app: FastAPI, superuser: AsyncClient, session: AsyncSession
) -> None:
    for name in ("jane", "joe", "jim"):
        await add_member(superuser, name, is_active=name != "joe")
    await session.exec(  # type: ignore[call-overload]
        text("UPDATE members SET hashed_password = 'unreadable' WHERE username = 'jim'")
    )
    await session.commit()

    names = ("nobody", "jane", "joe", "jim", "nobody@example.org", "jane@example.org")
    async with client_of(app, **{"X-Request-ID": "1"}) as client:
        answers = [await log_in(client, name, OTHER) for name in names]
        answers.append(await log_in(client, "joe"))

    for answer in answers:
        problem = assert_problem(answer, 401, "unauthenticated")
        assert problem["detail"] == "Incorrect username or password"
        assert_headers(answer)
        assert answer.headers["www-authenticate"] == "Bearer"
        del answer.headers["server-timing"]  # in development only
        assert (answer.content, answer.headers.raw) == (answers[0].content, answers[0].headers.raw)


@slow
@pytest.mark.timeout(300)  # six times what it takes where nobody else works
async def test_a_failed_login_takes_as_long_for_every_user(
    app: FastAPI, superuser: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "hasher", HASHER)
    for limit in ("login_tries_per_address", "login_tries_per_name"):
        monkeypatch.setattr(app.state.service.settings, limit, 10**6)
    await add_member(superuser, "jane")
    await add_member(superuser, "joe", is_active=False)
    kinds = {"unknown": ("nobody", OTHER), "wrong": ("jane", OTHER), "inactive": ("joe", PASSWORD)}

    async with client_of(app) as client:
        await log_in(client, "nobody")
        # The processors' time, which other work on the machine does not change; PostgreSQL's is
        # not in it, which does the same for all.
        for _ in range(5):  # each attempt is judged as a whole
            times: dict[str, list[float]] = {kind: [] for kind in kinds}
            for _ in range(100):
                for kind in random.sample(list(kinds), len(kinds)):
                    begun = time.process_time()
                    answer = await log_in(client, *kinds[kind])
                    times[kind].append(time.process_time() - begun)
                    assert answer.status_code == 401
            medians = {kind: median(found) for kind, found in times.items()}
            print({kind: f"{1000 * found:.2f} ms" for kind, found in medians.items()})
            if max(medians.values()) < 1.05 * min(medians.values()):
                return
    pytest.fail(str(medians))


async def test_the_eleventh_try_of_a_name_from_an_address_is_refused(
    app: FastAPI, superuser: AsyncClient
) -> None:
    for name in ("jane", "joe"):
        await add_member(superuser, name)

    async with client_of(app) as client:
        for _ in range(10):
            assert_problem(await log_in(client, "jane", OTHER), 401)
        for name, password in (("jane", OTHER), ("jane", PASSWORD), ("JANE ", PASSWORD)):
            refused = await log_in(client, name, password)
            assert_problem(refused, 429, "too-many-requests")
            assert_headers(refused)
            assert 0 < int(refused.headers["retry-after"]) <= 15 * 60
        assert (await log_in(client, "joe")).status_code == 200
    async with client_of(app, "192.0.2.1") as elsewhere:
        assert (await log_in(elsewhere, "jane")).status_code == 200


async def test_no_spelling_of_a_name_is_a_name_more_to_try(
    app: FastAPI, superuser: AsyncClient
) -> None:
    """PostgreSQL's lower() makes an i of the Turkish letter."""
    await add_member(superuser, "admin")

    async with client_of(app) as client:
        assert_problem(await log_in(client, "adm\u0130n"), 401)
        assert (await log_in(client, "ADMIN")).status_code == 200


async def test_the_sixty_first_try_from_an_address_is_refused_whoever_is_tried(
    app: FastAPI, superuser: AsyncClient
) -> None:
    await add_member(superuser, "jane")

    async with client_of(app, "192.0.2.1") as client:
        for n in range(60):
            assert_problem(await log_in(client, f"name{n}", OTHER), 401)
        refused = await log_in(client, "jane")
        assert_problem(refused, 429, "too-many-requests")
        assert 0 < int(refused.headers["retry-after"]) <= 15 * 60
    async with client_of(app, "192.0.2.2") as elsewhere:
        assert (await log_in(elsewhere, "jane")).status_code == 200


async def test_an_address_of_version_six_counts_as_its_network(
    app: FastAPI,
    client: AsyncClient,  # noqa: ARG001 - it empties the tables
) -> None:
    for n in range(10):
        async with client_of(app, f"2001:db8:0:1::{n}") as neighbour:
            assert_problem(await log_in(neighbour, "jane"), 401)

    async with client_of(app, "2001:db8:0:1:ffff::") as neighbour:
        assert_problem(await log_in(neighbour, "jane"), 429)
    async with client_of(app, "2001:db8:0:2::") as elsewhere:
        assert_problem(await log_in(elsewhere, "jane"), 401)


async def test_a_window_ends(app: FastAPI, client: AsyncClient, session: AsyncSession) -> None:
    for _ in range(11):
        last = await log_in(client, "jane")
    assert_problem(last, 429)

    await session.exec(  # type: ignore[call-overload]
        text("UPDATE login_tries SET since = since - interval '15 minutes'")
    )
    await session.commit()

    assert_problem(await log_in(client, "jane"), 401)
    assert app.state.service.settings.login_window_minutes == 15


async def test_the_limit_tells_nothing_of_the_user(app: FastAPI, superuser: AsyncClient) -> None:
    """Whoever tries a name has not tried the e-mail that belongs to it, or it would be known."""
    await add_member(superuser, "jane")

    async with client_of(app) as client:
        for name in ("jane", "nobody"):
            for _ in range(10):
                assert_problem(await log_in(client, name, OTHER), 401)
            assert_problem(await log_in(client, f"{name}@example.org", OTHER), 401)


class Held(Argon2Hasher):
    """A better hasher than that of the tests, which begins a check and goes on when it may."""

    def __init__(self) -> None:
        super().__init__(time_cost=2, memory_cost=16, parallelism=1)
        self.has_begun, self.goes_on = Event(), Event()

    def verify(self, password: str | bytes, hash: str | bytes) -> bool:
        """Check a password against a hash, once that is allowed."""
        self.has_begun.set()
        assert self.goes_on.wait(40)
        return super().verify(password, hash)


async def test_beyond_the_limit_no_hash_is_made(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(10):
        assert_problem(await log_in(client, "jane"), 401)
    held = Held()
    held.goes_on.set()
    monkeypatch.setattr(passwords, "hasher", PasswordHash([held]))

    for _ in range(10):
        assert_problem(await log_in(client, "jane"), 429)
    assert not held.has_begun.is_set()
    assert_problem(await log_in(client, "joe"), 401)
    assert held.has_begun.is_set()


async def row_of(session: AsyncSession) -> dict[str, Any]:
    """Return what is stored of the user of id 1."""
    found = await session.exec(text("SELECT * FROM members WHERE id = 1"))  # type: ignore[call-overload]
    await session.rollback()
    return dict(found.mappings().one())


async def test_a_better_hash_of_the_same_password_changes_nothing_else(
    app: FastAPI, superuser: AsyncClient, session: AsyncSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_member(superuser, "jane")
    jane = await signed_in(app, "jane")
    before, shown = await row_of(session), await jane.get("/members/me")

    better = Argon2Hasher(time_cost=2, memory_cost=16, parallelism=1)
    monkeypatch.setattr(passwords, "hasher", PasswordHash([better]))
    await log_in(client_of(app), "jane", OTHER)
    assert await row_of(session) == before
    again = await signed_in(app, "jane")
    after = await row_of(session)

    assert after.pop("hashed_password") != before.pop("hashed_password")
    assert after == before
    for client in (jane, again):
        answer = await client.get("/members/me")
        assert (answer.status_code, answer.headers["etag"]) == (200, shown.headers["etag"])
    hashed = (await row_of(session))["hashed_password"]
    assert re.match(r"\$argon2id\$v=19\$m=16,t=2,p=1\$", hashed)
    await signed_in(app, "jane")
    assert (await row_of(session))["hashed_password"] == hashed


async def test_a_better_hash_does_not_bring_an_old_password_back(
    app: FastAPI, superuser: AsyncClient, session: AsyncSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_member(superuser, "jane")
    new = await passwords.hash_password(OTHER)
    held = Held()
    monkeypatch.setattr(passwords, "hasher", PasswordHash([held]))

    login = asyncio.create_task(log_in(client_of(app), "jane"))
    await asyncio.to_thread(held.has_begun.wait, 40)
    await session.exec(  # type: ignore[call-overload]
        text("UPDATE members SET hashed_password = :new, version = version + 1 WHERE id = 1"),
        params={"new": new},
    )
    await session.commit()
    held.goes_on.set()

    assert_problem(await login, 401)
    assert (await row_of(session))["hashed_password"] == new


@pytest.mark.parametrize("change", ["version = version + 1, hashed_password", "is_active"])
async def test_who_logs_in_while_the_account_changes_is_refused(
    app: FastAPI, superuser: AsyncClient, session: AsyncSession, change: str
) -> None:
    """A token that was given for the old password then would be of after the change."""
    await add_member(superuser, "jane")
    new = await passwords.hash_password(OTHER) if "password" in change else "false"

    async with app.state.service.database.engine.connect() as connection:
        await connection.execute(text(f"UPDATE members SET {change} = '{new}' WHERE id = 1"))
        login = asyncio.create_task(log_in(client_of(app), "jane"))
        await waiting(await session.connection(), 1)
        await connection.commit()

    assert_problem(await login, 401, "unauthenticated")


async def test_who_logs_in_while_a_name_changes_is_let_in(
    app: FastAPI, superuser: AsyncClient, session: AsyncSession
) -> None:
    await add_member(superuser, "jane")

    async with app.state.service.database.engine.connect() as connection:
        await connection.execute(
            text("UPDATE members SET username = 'jd', version = 2 WHERE id = 1")
        )
        login = asyncio.create_task(log_in(client_of(app), "jane"))
        await waiting(await session.connection(), 1)
        await connection.commit()

    assert (await login).status_code == 200


async def test_who_logs_in_twice_at_once_is_let_in_twice_though_the_hash_gets_better(
    app: FastAPI, superuser: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_member(superuser, "jane")
    better = Argon2Hasher(time_cost=2, memory_cost=16, parallelism=1)
    monkeypatch.setattr(passwords, "hasher", PasswordHash([better]))

    answers = await asyncio.gather(*(log_in(client_of(app), "jane") for _ in range(8)))

    assert [answer.status_code for answer in answers] == [200] * 8


def add_members(url: URL, *names: str) -> None:
    """Store members, with the password that all have."""
    hashed = HASHER.hash(PASSWORD)
    rows = ", ".join(f"('{name}', '{name}@example.org', '{hashed}')" for name in names)
    execute(url, f"INSERT INTO members (username, email, hashed_password) VALUES {rows}")


def workers_of(service: Service) -> list[int]:
    """Return the processes that serve."""
    tasks = Path(f"/proc/{service.process.pid}/task").glob("*/children")
    return [int(pid) for task in tasks for pid in task.read_text().split()]


def worker_of(service: Service, client: httpx.Client) -> int | None:
    """Return the process that answers on the connection of a client."""
    stream = client.get("/ping").extensions["network_stream"]
    port = stream.get_extra_info("client_addr")[1]
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    sockets = [f"socket:[{line[9]}]" for line in lines if line[2].endswith(f":{port:04X}")]
    for pid in workers_of(service):
        links = Path(f"/proc/{pid}/fd").iterdir()
        if any(str(link.readlink()) in sockets for link in links):
            return pid
    return None


@contextmanager
def both_workers(service: Service) -> Iterator[list[httpx.Client]]:
    """Give a client of each of two workers, each with a connection that stays."""
    found: dict[int, httpx.Client] = {}

    def have_two() -> bool:
        client = httpx.Client(base_url=service.address)
        pid = worker_of(service, client)
        if pid is None or pid in found:
            client.close()
        else:
            found[pid] = client
        return len(found) == 2

    wait_until(have_two)
    yield list(found.values())
    for client in found.values():
        client.close()


def ask(client: httpx.Client, name: str, password: str = PASSWORD, **headers: str) -> Response:
    """Ask for a token."""
    form = {"username": name, "password": password}
    return client.post(TOKEN, data=form, headers=headers)


@slow
@pytest.mark.processes
def test_workers_share_the_count_of_tries_and_hear_of_a_change_at_once(migrated_url: URL) -> None:
    add_members(migrated_url, "jane", "joe", "jim")
    given = {"DATABASE_URL": spelled(migrated_url)}
    with (
        SAMPLES.serving("--workers", "2", **given) as service,
        both_workers(service) as (one, two),
    ):
        tries = [ask((one, two)[n % 2], "jane", OTHER).status_code for n in range(12)]
        assert tries == [401] * 10 + [429] * 2
        assert ask(one, "jane").status_code == ask(two, "jane").status_code == 429

        def can_ask(headers: dict[str, str]) -> list[bool]:
            return [each.get("/members/me", headers=headers).is_success for each in (one, two)]

        for n, name in enumerate(("joe", "jim")):
            token = ask(one, name).json()["access_token"]
            headers = {"Authorization": f"Bearer {token}"}
            assert can_ask(headers) == [True, True]
            if n == 0:
                body = {"password": OTHER}
                assert one.patch("/members/me", json=body, headers=headers).status_code == 200
            else:
                execute(migrated_url, "UPDATE members SET is_active = false WHERE username = 'jim'")
            assert two.get("/members/me", headers=headers).status_code == 401
            assert can_ask(headers) == [False, False]
        token = ask(two, "joe", OTHER).json()["access_token"]
        assert can_ask({"Authorization": f"Bearer {token}"}) == [True, True]


@slow
@pytest.mark.processes
def test_a_stranger_cannot_say_that_he_comes_from_elsewhere(migrated_url: URL) -> None:
    with SAMPLES.serving(DATABASE_URL=spelled(migrated_url)) as service:
        client = httpx.Client(base_url=service.address)
        with client:
            statuses = [
                ask(client, "jane", **{name: f"{value}{n}"}).status_code
                for n, (name, value) in enumerate(
                    [("X-Forwarded-For", "192.0.2."), ("Forwarded", "for=192.0.2.")] * 6
                )
            ]

    assert statuses == [401] * 10 + [429] * 2


def memory(pid: int, name: str) -> int:
    """Return a line of a process's status, in bytes: VmRSS is what it has, VmHWM the peak."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"{name}:\s+(\d+) kB", status)
    assert found
    return 1024 * int(found[1])


def pings(port: int, ended: Event) -> list[float]:
    """Ask without a pause; return the seconds that each answer took."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    times = []
    while not ended.is_set():
        begun = time.perf_counter()
        connection.request("GET", "/ping")
        assert connection.getresponse().read() == b'{"ping":"pong!"}'
        times.append(time.perf_counter() - begun)
    connection.close()
    return times


async def at_once(address: str, names: list[str]) -> list[Response]:
    """Log all of them in at once, on connections that are there already."""
    limits = httpx.Limits(max_connections=len(names), max_keepalive_connections=len(names))
    async with AsyncClient(base_url=address, limits=limits, timeout=30) as client:
        await asyncio.gather(*(client.get("/ping") for _ in names))
        return await asyncio.gather(*(log_in(client, name) for name in names))


@pytest.mark.processes
@slow
def test_many_logins_at_once_hold_up_nobody_else_and_need_little_memory(migrated_url: URL) -> None:
    names = [f"user{n}" for n in range(64)]
    add_members(migrated_url, *names)
    given = {"DATABASE_URL": spelled(migrated_url), "LOGIN_TRIES_PER_ADDRESS": "1000000"}
    with SAMPLES.serving(**given) as service, ThreadPoolExecutor(1) as beside:
        pid, port = service.process.pid, httpx.URL(service.address).port
        assert port
        asyncio.run(at_once(service.address, names[:1]))
        # The processors' time, which other work on the machine does not change; PostgreSQL's is
        # not in it, which does the same for all.
        for _ in range(5):  # each attempt is judged as a whole
            before = memory(pid, "VmRSS")
            Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak begins anew
            ended = Event()
            asked = beside.submit(pings, port, ended)
            try:
                answers = asyncio.run(at_once(service.address, names))
            finally:
                ended.set()
            p99 = quantiles(asked.result(), n=100)[98]
            grown = memory(pid, "VmHWM") - before
            statuses = [answer.status_code for answer in answers]
            print(
                f"{statuses.count(200)} logged in, p99 of {len(asked.result())} pings"
                f" {1000 * p99:.1f} ms, {grown / 1e6:.1f} MB more"
            )
            assert {200} <= {*statuses} <= {200, 503}
            assert grown < 100e6
            if p99 < 0.1:
                return
    pytest.fail(f"p99 {1000 * p99:.1f} ms")


def shift_clock(url: URL, seconds: int) -> None:
    """Let the clock of a database, as statements of new connections read it, be so far ahead."""
    execute(
        url,
        "CREATE SCHEMA IF NOT EXISTS shifted",
        "CREATE OR REPLACE FUNCTION shifted.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS"
        f" 'SELECT pg_catalog.clock_timestamp() + make_interval(secs => {seconds})'",
        f'ALTER DATABASE "{url.database}" SET search_path = shifted, pg_catalog, public',
    )


@pytest.mark.parametrize("seconds", [120, -120, 0])
async def test_tokens_are_written_and_read_by_the_clock_of_the_database(
    migrated_url: URL, caplog: pytest.LogCaptureFixture, seconds: int
) -> None:
    shift_clock(migrated_url, 0)
    app = SAMPLES.app(database_url=spelled(migrated_url))
    async with app.router.lifespan_context(app):
        await add_member(client_of(app, Authorization=await sign_in(app)), "jane")
        execute(migrated_url, "UPDATE members SET created_at = now() - interval '1 day'")
        shift_clock(migrated_url, seconds)
        jane = await signed_in(app, "jane")
        assert (await jane.get("/members/me")).status_code == 200
        shift_clock(migrated_url, seconds + 31 * 60)
        assert_problem(await jane.get("/members/me"), 401, "unauthenticated")

    told = [each.getMessage() for each in caplog.records if "clock" in each.getMessage()]
    expected = [f"{-seconds}"] * 2 if seconds else []  # at the login and at the request
    assert [each.rpartition(" seconds_ahead=")[2] for each in told[:-1]] == expected
