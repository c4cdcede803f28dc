"""Passwords: the hashes, what they cost, and what a password may be."""

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from pydantic import SecretStr, TypeAdapter, ValidationError
from sqlmodel import SQLModel

from songbook.auth import passwords
from songbook.auth.passwords import Password, hash_password, verify_password
from songbook.errors.problems import ServiceUnavailable
from songbook.models.bases import Partial
from tests.support.clients import HASHER
from tests.support.marks import slow
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio

AT_ONCE = min(os.cpu_count() or 1, 4)
RIGHT, WRONG = "correct horse", "battery staple"


class Recorder(Argon2Hasher):
    """A cheap hasher that remembers its work, and stops in the middle of it while it is told to."""

    def __init__(self, memory_cost: int = 8) -> None:
        super().__init__(memory_cost=memory_cost, time_cost=1, parallelism=1)
        self.made: list[str] = []
        self.verified: list[str | bytes] = []
        self.begun = self.ended = self.most = 0
        self.goes_on = threading.Event()
        self.goes_on.set()
        self._lock = threading.Lock()

    @property
    def running(self) -> int:
        """Return how many passwords are being hashed."""
        return self.begun - self.ended

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        """Hash a password, once that is allowed."""
        with self._lock:
            self.begun += 1
            self.most = max(self.most, self.running)
        assert self.goes_on.wait(40)
        made = super().hash(password, salt=salt)
        with self._lock:
            self.made.append(made)
            self.ended += 1
        return made

    def verify(self, password: str | bytes, hash: str | bytes) -> bool:
        """Check a password against a hash."""
        self.verified.append(hash)
        return super().verify(password, hash)


def replace_hasher(monkeypatch: pytest.MonkeyPatch, recorder: Recorder) -> Recorder:
    monkeypatch.setattr(passwords, "hasher", PasswordHash([recorder]))
    return recorder


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """Put a cheap hasher in the place of the real one; let go what still waits in it."""
    recorder = replace_hasher(monkeypatch, Recorder())
    yield recorder
    recorder.goes_on.set()
    wait_until(lambda: not recorder.running)


async def hashing(recorder: Recorder, number: int) -> None:
    """Return when so many passwords are being hashed, no more and no less."""
    await asyncio.to_thread(wait_until, lambda: recorder.running == number)


async def test_a_hash_has_the_parameters_that_owasp_recommends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(passwords, "hasher", HASHER)

    stored = await hash_password(RIGHT)

    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert await verify_password(RIGHT, stored) == (True, None)
    assert await verify_password(WRONG, stored) == (False, None)


@pytest.mark.usefixtures("cheap")
async def test_the_same_password_has_another_hash_each_time() -> None:
    assert await hash_password(RIGHT) != await hash_password(RIGHT)


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize(
    "password", ["  spaces  ", "e\u0301\u212b\U0001f3b5", "a" * 128, "\0\ud800"]
)
async def test_a_password_is_taken_verbatim(password: str) -> None:
    stored = await hash_password(password)

    assert await verify_password(password, stored) == (True, None)
    for other in (password.strip() + "x", "é\u00c5\U0001f3b5", password[:-1], f"{password} "):
        assert await verify_password(other, stored) == (False, None)


async def test_a_hash_is_made_anew_when_the_parameters_rise(
    cheap: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await hash_password(RIGHT)
    assert await verify_password(RIGHT, old) == (True, None)
    assert cheap.made[0] == old

    replace_hasher(monkeypatch, Recorder(memory_cost=16))
    assert await verify_password(WRONG, old) == (False, None)
    is_right, new = await verify_password(RIGHT, old)

    assert is_right
    assert new is not None
    assert "$m=16," in new
    assert await verify_password(RIGHT, new) == (True, None)


@pytest.mark.parametrize("order", [[True, False, False, True], [False, True, True, False]])
async def test_an_unknown_user_costs_the_same_work_as_a_wrong_password(
    cheap: Recorder, order: list[bool]
) -> None:
    stored = await hash_password(RIGHT)
    cheap.made.clear()

    made = []
    for is_known in order:
        assert await verify_password(WRONG, stored if is_known else None) == (False, None)
        made.append(len(cheap.made))

    [dummy] = cheap.made
    assert made == [1, 1, 1, 1]  # the first who asks waits for the dummy, known or not
    assert cheap.verified == [stored if is_known else dummy for is_known in order]


async def test_no_password_fits_the_user_that_nobody_knows(cheap: Recorder) -> None:
    for password in ("", RIGHT, "\0" * 32):
        assert await verify_password(password, None) == (False, None)
    assert len(cheap.verified) == 3


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize(
    "stored",
    [
        "", "!", "x" * 1000, "\0", "\ud800", "$", "$argon2id$", "$argon2id$v=19$m=8,t=1,p=1$é$é",
        "$argon2id$v=19$m=8,t=1,p=1", "$argon2id$v=19$m=8,t=1,p=1$YXNkZmFzZGY$YXNkZg",
        f"$argon2id$v=19$m={'9' * 30},t=1,p=1$YXNkZmFzZGY$YXNkZg", "$argon2x$v=19$m=8,t=1,p=1$a$a",
        "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW", RIGHT,
    ],
)  # fmt: skip
async def test_an_unreadable_hash_is_nobodys(stored: str) -> None:
    assert await verify_password(RIGHT, stored) == (False, None)


async def test_what_is_no_hash_costs_the_same_work(cheap: Recorder) -> None:
    for stored in ("", "!", "$2b$12$abc"):
        await verify_password(RIGHT, stored)

    assert cheap.verified == cheap.made * 3


async def test_only_a_few_are_hashed_at_once(cheap: Recorder) -> None:
    cheap.goes_on.clear()
    waiting = [asyncio.create_task(hash_password(RIGHT)) for _ in range(4 * AT_ONCE)]
    await hashing(cheap, AT_ONCE)
    cheap.goes_on.set()
    await asyncio.gather(*waiting)

    assert cheap.most == AT_ONCE
    assert cheap.ended == 4 * AT_ONCE


@slow
@pytest.mark.long
async def test_whoever_waits_a_second_for_a_turn_is_told_to_come_back(
    cheap: Recorder, restore_bounds: Callable[[str], None]
) -> None:
    cheap.goes_on.clear()
    loop = asyncio.get_running_loop()
    running = [asyncio.create_task(hash_password(RIGHT)) for _ in range(AT_ONCE)]
    await hashing(cheap, AT_ONCE)
    restore_bounds("songbook.auth.passwords")
    began = loop.time()

    with pytest.raises(ServiceUnavailable, match="passwords") as refused:
        await verify_password(RIGHT, None)

    assert 0.9 < loop.time() - began < 15
    assert refused.value.status == 503
    assert refused.value.headers["Retry-After"] == "1"
    cheap.goes_on.set()  # who has got a turn keeps it, however long it takes
    await asyncio.gather(*running)
    assert cheap.verified == []


async def test_a_turn_is_held_until_the_thread_ends_whoever_has_left(cheap: Recorder) -> None:
    cheap.goes_on.clear()
    left = [asyncio.create_task(hash_password(RIGHT)) for _ in range(AT_ONCE)]
    await hashing(cheap, AT_ONCE)
    for task in left:
        task.cancel()
    await asyncio.wait(left)
    next_one = asyncio.create_task(hash_password(RIGHT))
    await asyncio.sleep(0.05)

    assert cheap.begun == AT_ONCE
    cheap.goes_on.set()
    await next_one
    await hashing(cheap, 0)
    assert cheap.begun == cheap.ended == AT_ONCE + 1
    assert cheap.most == AT_ONCE


async def test_whoever_leaves_the_queue_is_not_hashed_for(cheap: Recorder) -> None:
    cheap.goes_on.clear()
    running = [asyncio.create_task(hash_password(RIGHT)) for _ in range(AT_ONCE)]
    await hashing(cheap, AT_ONCE)
    queued = [asyncio.create_task(hash_password(RIGHT)) for _ in range(5)]
    await asyncio.sleep(0.01)
    for task in queued:
        task.cancel()
    await asyncio.wait(queued)
    cheap.goes_on.set()
    await asyncio.gather(*running)
    await hash_password(RIGHT)

    assert all(task.cancelled() for task in queued)
    assert cheap.begun == AT_ONCE + 1


def test_event_loops_one_after_another_share_the_threads(cheap: Recorder) -> None:
    async def hash_many() -> None:
        await asyncio.gather(*(hash_password(RIGHT) for _ in range(3 * AT_ONCE)))

    async def leave_in_the_middle() -> None:
        cheap.goes_on.clear()
        task = asyncio.create_task(hash_password(RIGHT))
        await hashing(cheap, 1)
        task.cancel()

    asyncio.run(hash_many())
    asyncio.run(leave_in_the_middle())
    cheap.goes_on.set()
    asyncio.run(hash_many())

    wait_until(lambda: cheap.ended == len(cheap.made) == 6 * AT_ONCE + 1)  # the one left, too
    assert cheap.most <= AT_ONCE


class Body(SQLModel):
    """A body with a password, whose other texts would be stripped."""

    model_config = {"str_strip_whitespace": True}

    password: Password


class Change(Body, Partial):
    """A body in which it may be left out."""


@pytest.mark.parametrize(
    "password",
    ["12345678", "  12 34  ", "\u3000" * 8, "é" * 128, "\U0001f3b5" * 8, "\x01\t\n\r\x7f~~~"],
)
def test_eight_to_128_characters_of_any_kind_may_be_a_password(password: str) -> None:
    for given in (password, SecretStr(password)):
        body = Body.model_validate({"password": given})

        assert isinstance(body.password, SecretStr)
        assert body.password.get_secret_value() == password


@pytest.mark.parametrize(
    ("password", "kind"),
    [
        ("1234567", "string_too_short"), ("", "string_too_short"), ("é" * 129, "string_too_long"),
        ("\ud800" + "a" * 9, "string_unicode"), ("a" * 9 + "\udfff", "string_unicode"),
        ("a\0" * 9, "string_nul"), (12345678, "string_type"), (None, "string_type"),
        (["12345678"], "string_type"), (SecretStr("1234567"), "string_too_short"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_password_is_refused(password: Any, kind: str) -> None:
    for model in (Body, Change):
        with pytest.raises(ValidationError) as refused:
            model.model_validate({"password": password})

        assert [error["type"] for error in refused.value.errors()] == [kind]


def test_the_schema_says_what_a_password_may_be() -> None:
    promised = {
        "type": "string",
        "minLength": 8,
        "maxLength": 128,
        "pattern": "^[^\\u0000]*$",
        "format": "password",
        "writeOnly": True,
    }

    for schema in (
        TypeAdapter(Password).json_schema(),
        Body.model_json_schema()["properties"]["password"],
        Change.model_json_schema()["properties"]["password"],
    ):
        assert {name: value for name, value in schema.items() if name != "title"} == promised


def test_a_password_is_shown_to_nobody() -> None:
    class Holder(SQLModel):
        password: Password

    holder = Holder.model_validate({"password": RIGHT})

    for shown in (repr(holder), str(holder), holder.model_dump_json(), str(holder.model_dump())):
        assert RIGHT not in shown
