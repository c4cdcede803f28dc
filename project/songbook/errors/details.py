"""Every failure as one shape: problem details (RFC 9457), whoever raised it."""

from http import HTTPStatus
from urllib.parse import quote

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from songbook.errors.field_errors import FieldError
from songbook.errors.import_report import ImportReport
from songbook.errors.problems import Problem

MEDIA_TYPE = "application/problem+json"
_TITLES = {413: "Content Too Large", 414: "URI Too Long", 422: "Unprocessable Content"}


class ProblemDetails(BaseModel):
    """The body of every failure (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    request_id: str
    errors: list[FieldError] = []
    report: ImportReport | None = None


def title_of(status: int) -> str:
    """Return the reason phrase of a status code (RFC 9110), the same on every version of Python."""
    return _TITLES.get(status) or HTTPStatus(status).phrase


def details_of(problem: Problem, path: str, request_id: str) -> ProblemDetails:
    """Return the body that tells a client of a problem at a path."""
    return ProblemDetails(
        type=f"/problems/{problem.slug}",
        title=title_of(problem.status),
        status=problem.status,
        detail=problem.detail,
        instance=quote(path),
        request_id=request_id,
        errors=list(problem.errors),
        report=problem.report,
    )


def answer_problem(problem: Problem, request: Request) -> Response:
    """Return the answer that tells a client of a problem."""
    body = details_of(problem, request.scope["path"], request.scope.get("request_id", ""))
    content = body.model_dump_json(exclude_defaults=True, ensure_ascii=True)
    headers = {"Cache-Control": "no-store", **problem.headers}
    return Response(content, problem.status, headers, MEDIA_TYPE)
