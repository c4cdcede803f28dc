"""Which problem an exception is, whoever raised it: PostgreSQL, the driver, FastAPI, or a bug."""

import logging
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

from songbook.errors.details import answer_problem, title_of
from songbook.errors.field_errors import field_error
from songbook.errors.problems import Conflict, Problem, Unacceptable, Unavailable, unacceptable
from songbook.models import mapped_classes, noun_of, table_of

logger = logging.getLogger(__name__)

_REFERENCES, _DUPLICATES = "23503", {"23505", "23P01"}
_BROKEN_RULE = "23000"  # what our own triggers raise; the message is theirs
_REFUSED_VALUES = {"23502", "23514"}
_UNAVAILABLE = {"55P03", "57014", "57P01", "57P02", "57P03", "25P03", "25P04", "25006"}
_NOT_MIGRATED = {"42P01", "42703"}
_UNAVAILABLE_CLASSES = {"08", "40", "53"}


def fields_of_constraint(name: str | None) -> tuple[str, list[str]]:
    """Return what the rows of a constraint or a unique index are called, and its columns."""
    for model in mapped_classes():
        table = table_of(model)
        for found in (*table.constraints, *table.indexes):
            if isinstance(found, ColumnCollectionConstraint | Index) and found.name == name:
                return noun_of(model).lower(), [column.name for column in found.columns]
    return "record", []


def _of_database(error: asyncpg.PostgresError) -> Problem:
    """Map an error of PostgreSQL by its SQLSTATE (PostgreSQL manual, appendix A)."""
    state = error.sqlstate or ""
    noun, fields = fields_of_constraint(getattr(error, "constraint_name", None))
    if state in _DUPLICATES:
        errors = [field_error("body", name, "Is already taken", "unique") for name in fields]
        return Conflict(f"The {noun} is already stored", errors=errors)
    if state == _REFERENCES:
        detail = "What it refers to does not exist"
        return Conflict(
            errors=[field_error("body", name, detail, "foreign_key") for name in fields]
        )
    if state == _BROKEN_RULE:
        return Conflict(error.message)
    if state in _REFUSED_VALUES or state.startswith("22"):
        logger.warning("PostgreSQL refused a value that validation let through: %s", state)
        detail = "PostgreSQL refuses this value"
        return Unacceptable(errors=[field_error("body", name, detail, "value") for name in fields])
    if state in _UNAVAILABLE or state[:2] in _UNAVAILABLE_CLASSES:
        return Unavailable()
    return Problem()


def problem_of(error: BaseException) -> Problem:
    """Return the problem that an exception is to a client; what is not known is a bug (500)."""
    if isinstance(error, DBAPIError) and isinstance(error.driver_exception, asyncpg.PostgresError):
        error = error.driver_exception
    problem = Problem()
    match error:
        case Problem():
            problem = error
        case RequestValidationError():
            problem = unacceptable(error.errors())
        case HTTPException():
            problem = _of_status(error)
        case asyncpg.PostgresError():
            problem = _of_database(error)
        case (
            DBAPIError()
            | asyncpg.InterfaceError()
            | asyncpg.InternalClientError()
            | PoolTimeout()
            | ConnectionError()
            | TimeoutError()
        ):
            problem = Unavailable()
        case StatementError():
            logger.warning("SQLAlchemy refused a value that validation let through")
            problem = Unacceptable()
    return problem


def _of_status(error: HTTPException) -> Problem:
    """Return the problem of a failure that FastAPI or Starlette raised by its status."""
    detail = error.detail if error.detail != HTTPStatus(error.status_code).phrase else None
    for kind in Problem.__subclasses__():
        if kind.status == error.status_code:
            return kind(detail, headers=error.headers)
    problem = Problem(detail or title_of(error.status_code), headers=error.headers)
    problem.status, problem.slug = error.status_code, f"http-{error.status_code}"
    return problem


def _hint(error: Exception) -> str:
    """Say what to do about a table or a column that is not there."""
    state = getattr(getattr(error, "driver_exception", error), "sqlstate", None)
    return ": run the command migrate" if state in _NOT_MIGRATED else ""


async def handle(request: Request, error: Exception) -> Response:
    """Answer an exception; a bug is logged with its request id and tells the client nothing."""
    problem = problem_of(error)
    request_id = request.scope.get("request_id")
    if problem.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error("request %s failed%s", request_id, _hint(error), exc_info=error)
        if request.app.debug:
            problem.detail = repr(error)
    elif problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
        cause = error.__cause__ or error
        logger.warning("request %s cannot be answered now: %r", request_id, cause)
    return answer_problem(problem, request)
