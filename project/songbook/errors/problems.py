"""Every failure that a client is told about, as an exception of its own."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any
from urllib.parse import quote

from songbook.errors.details import FieldError, ImportReport, ProblemDetails, title_of
from songbook.errors.field_errors import pointer_to, relevant

MAX_ERRORS = 20


class Problem(Exception):
    """A failure that a client is told about; `slug` names its type, `/problems/{slug}`."""

    status, slug = 500, "internal"
    detail = "The service failed to answer; the failure is logged under the request id."
    headers: Mapping[str, str] = {}

    def __init__(
        self,
        detail: str | None = None,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        report: ImportReport | None = None,
    ) -> None:
        self.detail = detail or self.detail
        self.errors = errors
        self.report = report
        self.headers = headers or self.headers
        super().__init__(self.detail)

    def body(self, path: str, request_id: str) -> str:
        """Return the JSON that tells a client of the problem at a path."""
        details = ProblemDetails(
            type=f"/problems/{self.slug}",
            title=title_of(self.status),
            status=self.status,
            detail=self.detail,
            instance=quote(path),
            request_id=request_id,
            errors=list(self.errors),
            report=self.report,
        )
        return details.model_dump_json(exclude_defaults=True, ensure_ascii=True)


class BadRequest(Problem):
    """The message cannot be read (400)."""

    status, slug = 400, "malformed"
    detail = "The request cannot be read."


class BadCursor(BadRequest):
    """The cursor is not one that this list gave (400)."""

    slug = "bad-cursor"
    detail = "The cursor in `after` is not of this list, filters and order: start without it."


class Unauthenticated(Problem):
    """The request has no valid credentials (401)."""

    status, slug = 401, "unauthenticated"
    detail = "Not authenticated"
    headers: Mapping[str, str] = {"WWW-Authenticate": "Bearer"}


class Forbidden(Problem):
    """The sender of the request may not do this (403)."""

    status, slug = 403, "forbidden"
    detail = "You may not do this."


class NotFound(Problem):
    """Nothing is there (404)."""

    status, slug = 404, "not-found"
    detail = "There is nothing at this address."


class MethodNotAllowed(Problem):
    """The address is known, the method is not among those it answers (405)."""

    status, slug = 405, "method-not-allowed"
    detail = "This address does not answer this method: see the Allow header."


class RequestTimeout(Problem):
    """The body did not come in time (408)."""

    status, slug = 408, "too-slow"
    detail = "The body did not come in time."
    headers: Mapping[str, str] = {"Connection": "close"}


class Conflict(Problem):
    """What is stored stands in the way (409)."""

    status, slug = 409, "conflict"
    detail = "This conflicts with what is stored."


class IdempotencyKeyInUse(Conflict):
    """A request with the same Idempotency-Key is still being answered (409)."""

    slug = "idempotency-key-in-use"
    detail = "A request with this Idempotency-Key is still under way: try again."
    headers: Mapping[str, str] = {"Retry-After": "1"}


class PreconditionFailed(Problem):
    """The record is not in the version that the client saw (412)."""

    status, slug = 412, "precondition-failed"
    detail = "The record was changed since the version in If-Match: read it again."


class ContentTooLarge(Problem):
    """The body exceeds the limit (413)."""

    status, slug = 413, "too-large"
    headers: Mapping[str, str] = {"Connection": "close"}


class UnsupportedMediaType(Problem):
    """The body is in a format that is not read here (415)."""

    status, slug = 415, "unsupported-media-type"


class UnprocessableContent(Problem):
    """The message is well formed, its values are not acceptable (422)."""

    status, slug = 422, "validation"
    detail = "The request does not fit the schema."


class IdempotencyKeyReused(UnprocessableContent):
    """The Idempotency-Key is that of another request (422)."""

    slug = "idempotency-key-reused"
    detail = "This Idempotency-Key was sent with another request: make a new key for each."


class PreconditionRequired(Problem):
    """The service was set to refuse changes without If-Match (428)."""

    status, slug = 428, "precondition-required"
    detail = "Send the record's ETag in If-Match."


class TooManyRequests(Problem):
    """Too much was asked for in too short a time (429); say in `Retry-After` when to come back."""

    status, slug = 429, "too-many-requests"
    detail = "Too many requests: try again later."


class UriTooLong(Problem):
    """The address exceeds the limit (414)."""

    status, slug = 414, "uri-too-long"
    detail = "The address of the request is too long."


class HeaderFieldsTooLarge(Problem):
    """The request's line and headers exceed the limit (431)."""

    status, slug = 431, "head-too-large"
    detail = "The request's line and headers are too large."


class InsufficientStorage(Problem):
    """There is no room for the body (507)."""

    status, slug = 507, "insufficient-storage"
    detail = "There is no room for the body at the moment: nothing was stored."


class ServiceUnavailable(Problem):
    """The database cannot answer now (503)."""

    status, slug = 503, "unavailable"
    detail = "The database cannot answer at the moment: try again."
    headers: Mapping[str, str] = {"Retry-After": "1"}


def from_pydantic(
    errors: Iterable[Mapping[str, Any]], location: str | None = None
) -> UnprocessableContent:
    """Turn pydantic's errors into a problem; neither the input nor the context is repeated."""
    found = []
    for error in islice(relevant(errors), MAX_ERRORS):
        where, *path = error["loc"] if location is None else (location, *error["loc"])
        detail, kind = error["msg"], error["type"]
        at = pointer_to(*path)
        found.append(FieldError(pointer=at, location=str(where), detail=detail, type=kind))
    return UnprocessableContent(errors=found)
