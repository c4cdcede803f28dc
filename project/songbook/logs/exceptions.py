"""Exceptions as the log has them: type, SQLSTATE, constraint and stack, but no value of a client.

Messages of PostgreSQL, pydantic and Python quote what they reject.
"""

import traceback
from collections.abc import Iterator

import asyncpg
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.exc import TimeoutError as PoolTimeout

_MAX_FRAMES = 30

_OF_PROGRAM_OR_SYSTEM = (
    *(OSError, RuntimeError, TypeError, AttributeError, NameError, ImportError),
    *(asyncpg.InterfaceError, asyncpg.InternalClientError, InvalidRequestError, PoolTimeout),
)
"""Their messages are about the program or the system; a ValueError or KeyError quotes values."""

_OF_SERVER = ("08", "23", "25", "28", "3D", "40", "42", "53", "55", "57", "58")
"""Classes of SQLSTATEs whose message, without its detail, names tables, limits and files only."""

_RAISE = "exec_stmt_raise"
"""The function of PostgreSQL that raises what a service's own triggers say."""


def describe(error: BaseException) -> str:
    """Return the type of an exception, and its message if that quotes no value of a client."""
    error = _driver_exception(error)
    name = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    message = _message(error)
    return printable(f"{name}: {message}" if message else name)


def printable(text: str, keep: str = "") -> str:
    """Escape what is not printable, such as ends of lines; `keep` is kept."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each in keep else each.encode("unicode_escape").decode()
        for each in text
    )


def _driver_exception(error: BaseException) -> BaseException:
    """Return the exception of asyncpg that SQLAlchemy wrapped, or the exception itself."""
    return getattr(error, "driver_exception", None) or error


def _message(error: BaseException) -> str:
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        is_own = getattr(error, "server_source_function", None) == _RAISE
        is_safe = state.startswith(_OF_SERVER) and not is_own
        return str(error.args[0]) if is_safe and error.args else ""
    is_safe = isinstance(error, _OF_PROGRAM_OR_SYSTEM) and not isinstance(error, ValueError)
    return str(error) if is_safe else ""


def fields_of_error(error: BaseException) -> dict[str, str]:
    """Return the fields of an exception: `error`, and of PostgreSQL's `sqlstate`, `constraint`."""
    cause = _driver_exception(error)
    fields = {
        "error": describe(cause),
        "sqlstate": getattr(cause, "sqlstate", None),
        "constraint": getattr(cause, "constraint_name", None),
    }
    return {name: text for name, text in fields.items() if text}


def format_exception(error: BaseException) -> str:
    """Return the traceback, with those of its causes, as Python does but without values."""
    return "\n".join(_parts(error, set()))


def _parts(error: BaseException, seen: set[int]) -> Iterator[str]:
    """Give the traceback of the cause, of the exception, and of the members of a group."""
    seen.add(id(error))
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None and id(before) not in seen:
        yield from _parts(before, seen)
        how = "was the direct cause of" if error.__cause__ else "was being handled during"
        yield f"\nThe above exception {how} the following exception:\n"
    yield "Traceback (most recent call last):"
    yield "".join(traceback.format_tb(error.__traceback__, -_MAX_FRAMES)) + describe(error)
    for each in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
        yield "\nwhich has the following exception:\n"
        yield from _parts(each, seen)
