"""The exception handler: maps errors of PostgreSQL, SQLAlchemy and FastAPI to problems."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import asyncpg
from fastapi.exceptions import RequestValidationError
from sqlalchemy import Index
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.schema import ColumnCollectionConstraint
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from songbook.errors.details import MEDIA_TYPE, NO_SUCH_RECORD, FieldError, title_of
from songbook.errors.field_errors import field_error, pointer_to
from songbook.errors.problems import (
    Conflict,
    OutcomeUnknown,
    Problem,
    ServiceUnavailable,
    UnprocessableContent,
    from_pydantic,
)
from songbook.logs import Event
from songbook.metrics import Counter
from songbook.models import (
    client_fields,
    display_name,
    mapped_classes,
    plural_name,
    stored_name,
    table_of,
)

logger = logging.getLogger(__name__)

_PROBLEMS = Counter("songbook_problems_total", "Error responses by the type of problem.", ("type",))
_PROBLEMS.inc(OutcomeUnknown.slug, by=0)  # rare: without the 0 no alert would see the first one

# SQLSTATEs or their prefixes (PostgreSQL manual, appendix A)
_DUPLICATE, _REFERENCE, _RULE_VIOLATED = ("23505", "23P01"), "23503", "23000"
_RESTRICTED = "23001"  # by a foreign key with RESTRICT, since PostgreSQL 18; before it was 23503
_INVALID_VALUE = ("22", "23502", "23514")
_UNAVAILABLE = (
    *("08", "40", "53", "25006", "25P03", "25P04"),
    *("55P03", "57014", "57P01", "57P02", "57P03"),
)
_NOT_MIGRATED = dict.fromkeys(  # a table or a column is missing
    ("42P01", "42703"), "The database is not migrated yet: try again later."
)
_UNREACHABLE = (
    *(DBAPIError, PoolTimeout, asyncpg.InterfaceError, asyncpg.InternalClientError),
    *(ConnectionError, TimeoutError),
)


def fields_of_constraint(name: str | None) -> tuple[str, list[str]]:
    """Return the noun of the table of a constraint or unique index, and its fields in bodies."""
    for model in mapped_classes() if name else ():
        table = table_of(model)
        for each in (*table.constraints, *table.indexes):
            if not isinstance(each, ColumnCollectionConstraint | Index):
                continue
            if stored_name(str(each.name)) == name:
                written = client_fields(model)
                fields = [column.name for column in each.columns if column.name in written]
                return display_name(model).lower(), fields
    return "record", []


def _from_postgres(error: asyncpg.PostgresError) -> Problem:
    """Return the problem of an SQLSTATE."""
    state = error.sqlstate or ""
    noun, fields = fields_of_constraint(getattr(error, "constraint_name", None))

    def errors(detail: str, kind: str) -> list[FieldError]:
        return [field_error("body", name, detail, kind) for name in fields]

    if state in _DUPLICATE:
        return Conflict(
            f"The {noun} is already stored", errors=errors("Is already taken", "unique")
        )
    if state == _RESTRICTED or (state == _REFERENCE and _deletes(error)):
        return Conflict(_still_referred_to(getattr(error, "constraint_name", None)))
    if state == _REFERENCE:
        return Conflict(errors=errors(NO_SUCH_RECORD, "foreign_key"))
    if state == _RULE_VIOLATED:  # raised by our own triggers, with a message for clients
        return Conflict(error.message)
    if state.startswith(_INVALID_VALUE):
        logger.warning(Event("PostgreSQL rejects a value that validation accepts", sqlstate=state))
        return UnprocessableContent(errors=errors("PostgreSQL rejects this value", "value"))
    is_unavailable = state.startswith(_UNAVAILABLE) or state in _NOT_MIGRATED
    return ServiceUnavailable(_NOT_MIGRATED.get(state)) if is_unavailable else Problem()


def _deletes(error: asyncpg.PostgresError) -> bool:
    """Return whether a DELETE failed: the messages for both sides of a foreign key are alike."""
    return "DELETE FROM " in (getattr(error, "query", None) or "")


def _still_referred_to(constraint: str | None) -> str | None:
    """Return the sentence about a foreign key that forbids to delete the parent."""
    for model in mapped_classes():
        for each in table_of(model).foreign_key_constraints:
            if stored_name(str(each.name)) == constraint:
                parents = {table_of(other): other for other in mapped_classes()}
                parent = display_name(parents[each.referred_table]).lower()
                return f"The {parent} is still referred to by {plural_name(model)}."
    return None


def to_problem(error: BaseException) -> Problem:
    """Return the problem of an exception; unknown exceptions become 500."""
    if isinstance(error, DBAPIError) and isinstance(error.driver_exception, asyncpg.PostgresError):
        error = error.driver_exception
    match error:
        case Problem():
            return error
        case RequestValidationError():
            return from_pydantic(error.errors())
        case HTTPException():
            return _from_status(error)
        case asyncpg.PostgresError():
            return _from_postgres(error)
        case StatementError() if not isinstance(error, DBAPIError):
            logger.warning(Event("SQLAlchemy rejects a value that validation accepts"))
            return UnprocessableContent()
    return ServiceUnavailable() if isinstance(error, _UNREACHABLE) else Problem()


@contextmanager
def errors_at(*names: object) -> Iterator[None]:
    """Let the errors that PostgreSQL raises for a nested value point to it, as in `/lines/0/price`.

    The names are those of the members, and the numbers of the items, that lead to it in the body.
    """
    try:
        yield
    except (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError) as error:
        problem = to_problem(error)
        within = pointer_to(*names)
        problem.errors = [
            each.model_copy(update={"pointer": within + each.pointer}) for each in problem.errors
        ]
        raise problem from error


def _from_status(error: HTTPException) -> Problem:
    """Return the problem of an HTTPException."""
    detail = error.detail if error.detail != HTTPStatus(error.status_code).phrase else None
    for kind in Problem.__subclasses__():
        if kind.status == error.status_code:
            return kind(detail, headers=error.headers)
    problem = Problem(detail or title_of(error.status_code), headers=error.headers)
    problem.status, problem.slug = error.status_code, f"http-{error.status_code}"
    return problem


async def handle(request: Request, error: Exception) -> Response:
    """Return the response to an exception; what the service has to answer for is logged."""
    problem = to_problem(error)
    _PROBLEMS.inc(problem.slug)
    request_id = request.scope.get("request_id", "")
    failed = {"request_id": request_id, "status": problem.status}
    if problem.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error(Event("Request failed", **failed), exc_info=error)
        if request.app.debug:
            problem.detail = repr(error)
    elif problem.status in {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.INSUFFICIENT_STORAGE}:
        state = getattr(getattr(error, "driver_exception", error), "sqlstate", None)
        advice = {"advice": "run the command migrate"} if state in _NOT_MIGRATED else {}
        cause = error.__cause__ or error
        logger.warning(Event("Request failed", **failed, error=cause, **advice))
    headers = {"Cache-Control": "no-store", **problem.headers}
    body = problem.body(request.scope["path"], request_id)
    return Response(body, problem.status, headers, MEDIA_TYPE)
