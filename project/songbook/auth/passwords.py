"""Passwords: what one may be, and their argon2id hashes, made a few at a time in threads."""

import asyncio
import os
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Annotated, Any, TypeVar

from pwdlib import PasswordHash
from pwdlib.exceptions import UnknownHashError
from pwdlib.hashers.argon2 import Argon2Hasher
from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, SecretStr
from pydantic_core import CoreSchema, core_schema

from songbook.errors import ServiceUnavailable
from songbook.models import NO_NUL, without_nul

# The least that OWASP's Password Storage Cheat Sheet asks of argon2id. pwdlib's own 64 MiB for each
# would not let several log in at once in a small container.
hasher = PasswordHash([Argon2Hasher(memory_cost=19456, time_cost=2, parallelism=1)])
"""What makes and checks the hashes; tests may put a cheaper one in its place."""

# Each holds 19 MiB while it works, and a large host may have given us a small container.
_AT_ONCE = min(os.cpu_count() or 1, 4)
_WAIT_SECONDS = 1.0
_BUSY = "Too many passwords are being checked at the moment: try again."

# A thread is a turn: it is not given back before the work has ended, whoever has stopped waiting
# for it. It belongs to no event loop.
_threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="password")

Result = TypeVar("Result")


class _Verbatim:
    """A text of 8 to 128 characters without NUL, taken as it is and shown to nobody."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        text = core_schema.str_schema(min_length=8, max_length=128, strip_whitespace=False)
        stored = core_schema.no_info_after_validator_function(without_nul, text)
        secret = core_schema.no_info_after_validator_function(SecretStr, stored)
        return core_schema.no_info_before_validator_function(
            _revealed, secret, serialization=core_schema.to_string_ser_schema()
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return handler(schema) | {"pattern": NO_NUL, "format": "password", "writeOnly": True}


Password = Annotated[SecretStr, _Verbatim()]
"""A password that someone chooses: 8 to 128 characters of any kind but NUL, never stripped."""


async def hash_password(password: str) -> str:
    """Return the hash to store of a password.

    Raises ServiceUnavailable after a second without a turn.
    """
    return await _in_turn(hasher.hash, password)


async def verify_password(password: str, stored: str | None) -> tuple[bool, str | None]:
    """Return whether the password is the one of a stored hash, and a new hash to store, if any.

    There is a new one when the password is right and the parameters have changed. Without a stored
    hash, for a user that nobody knows, or with one that is no hash, the answer is no and takes as
    long as for a wrong password. Raises ServiceUnavailable after a second without a turn.
    """
    return await _in_turn(_verify, password, stored, hasher)


async def _in_turn(work: Callable[..., Result], password: str, *arguments: Any) -> Result:
    """Return what `work` returns in a thread; give up if none takes it up in time."""
    # also of a text that no password can be
    job = _threads.submit(work, password.encode(errors="surrogatepass"), *arguments)
    result = asyncio.wrap_future(job)
    try:
        await asyncio.wait([result], timeout=_WAIT_SECONDS)
        if job.cancel():  # possible only before it has begun
            raise ServiceUnavailable(_BUSY)
        return await result
    finally:
        result.cancel()  # whoever stops waiting gives up the place in the queue


def _verify(password: bytes, stored: str | None, hasher: PasswordHash) -> tuple[bool, str | None]:
    dummy = _dummy(hasher)  # made for the first who asks, known or not: the time tells nothing
    try:
        return hasher.verify_and_update(password, stored or dummy)
    except (UnknownHashError, ValueError):  # the latter of a hash that is not ASCII
        return hasher.verify_and_update(password, dummy)


@lru_cache(1)
def _dummy(hasher: PasswordHash) -> str:
    """Return a hash of a password that nobody has."""
    return hasher.hash(secrets.token_bytes())


def _revealed(value: Any) -> Any:
    return value.get_secret_value() if isinstance(value, SecretStr) else value
