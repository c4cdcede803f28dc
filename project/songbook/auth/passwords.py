"""Passwords and their argon2id hashes, computed in a few threads."""

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

# The minimum of OWASP's Password Storage Cheat Sheet for argon2id: with pwdlib's default of 64 MiB
# a small container could not compute several hashes at once.
hasher = PasswordHash([Argon2Hasher(memory_cost=19456, time_cost=2, parallelism=1)])
"""The hasher, which tests may replace by a cheaper one."""

# Each thread needs 19 MiB, and a container on a large host may be small.
_MAX_THREADS = min(os.cpu_count() or 1, 4)
_WAIT_SECONDS = 1.0
_BUSY = "Too many passwords are being checked at the moment: try again."

# A cancelled request does not free its thread before the hash is computed.
_threads = ThreadPoolExecutor(_MAX_THREADS, thread_name_prefix="password")

Result = TypeVar("Result")


class _Verbatim:
    """A secret string of 8 to 128 characters without NUL, not stripped."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        text = core_schema.str_schema(min_length=8, max_length=128, strip_whitespace=False)
        stored = core_schema.no_info_after_validator_function(without_nul, text)
        secret = core_schema.no_info_after_validator_function(SecretStr, stored)
        return core_schema.no_info_before_validator_function(
            _reveal, secret, serialization=core_schema.to_string_ser_schema()
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return handler(schema) | {"pattern": NO_NUL, "format": "password", "writeOnly": True}


Password = Annotated[SecretStr, _Verbatim()]
"""A new password: 8 to 128 characters other than NUL, not stripped."""


async def hash_password(password: str) -> str:
    """Return the hash of a password. Raises ServiceUnavailable without a free thread."""
    return await _run_in_thread(hasher.hash, password)


async def verify_password(password: str, stored: str | None) -> tuple[bool, str | None]:
    """Return whether the password has the stored hash, and a new hash if its parameters changed.

    Without a valid hash it returns False after the time of a wrong password. Raises
    ServiceUnavailable if no thread is free for a second.
    """
    return await _run_in_thread(_verify, password, stored, hasher)


async def _run_in_thread(function: Callable[..., Result], password: str, *arguments: Any) -> Result:
    """Run a function in a thread. Raises ServiceUnavailable if none is free in time."""
    job = _threads.submit(function, password.encode(errors="surrogatepass"), *arguments)
    result = asyncio.wrap_future(job)
    try:
        await asyncio.wait([result], timeout=_WAIT_SECONDS)
        if job.cancel():  # only before it has started
            raise ServiceUnavailable(_BUSY)
        return await result
    finally:
        result.cancel()  # a cancelled request leaves the queue


def _verify(password: bytes, stored: str | None, hasher: PasswordHash) -> tuple[bool, str | None]:
    dummy = _dummy(hasher)  # also for known users: the time of the first call discloses nothing
    try:
        return hasher.verify_and_update(password, stored or dummy)
    except (UnknownHashError, ValueError):  # ValueError: a hash that is not ASCII
        return hasher.verify_and_update(password, dummy)


@lru_cache(1)
def _dummy(hasher: PasswordHash) -> str:
    """Return the hash of a random password."""
    return hasher.hash(secrets.token_bytes())


def _reveal(value: Any) -> Any:
    return value.get_secret_value() if isinstance(value, SecretStr) else value
