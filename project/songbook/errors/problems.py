"""Every failure that a client is told about, as an exception of its own."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any
from urllib.parse import quote

from songbook.errors.details import FieldError, ImportReport, ProblemDetails, title_of
from songbook.errors.field_errors import pointer_to, told

MOST_ERRORS = 20


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


class Malformed(Problem):
    status, slug = 400, "malformed"
    detail = "The request cannot be read."


class BadCursor(Malformed):
    slug = "bad-cursor"
    detail = "The cursor in `after` is not of this list, filters and order: start without it."


class Unauthenticated(Problem):
    status, slug = 401, "unauthenticated"
    detail = "Not authenticated"
    headers: Mapping[str, str] = {"WWW-Authenticate": "Bearer"}


class Forbidden(Problem):
    status, slug = 403, "forbidden"
    detail = "You may not do this."


class NotFound(Problem):
    status, slug = 404, "not-found"
    detail = "There is nothing at this address."


class MethodNotAllowed(Problem):
    status, slug = 405, "method-not-allowed"
    detail = "This address does not answer this method: see the Allow header."


class TooSlow(Problem):
    status, slug = 408, "too-slow"
    detail = "The body did not come in time."
    headers: Mapping[str, str] = {"Connection": "close"}


class Conflict(Problem):
    status, slug = 409, "conflict"
    detail = "This conflicts with what is stored."


class KeyInUse(Conflict):
    slug = "idempotency-key-in-use"
    detail = "A request with this Idempotency-Key is still under way: try again."
    headers: Mapping[str, str] = {"Retry-After": "1"}


class PreconditionFailed(Problem):
    status, slug = 412, "precondition-failed"
    detail = "The record was changed since the version in If-Match: read it again."


class TooLarge(Problem):
    status, slug = 413, "too-large"
    headers: Mapping[str, str] = {"Connection": "close"}


class UnsupportedMediaType(Problem):
    status, slug = 415, "unsupported-media-type"


class Unacceptable(Problem):
    status, slug = 422, "validation"
    detail = "The request does not fit the schema."


class KeyReused(Unacceptable):
    slug = "idempotency-key-reused"
    detail = "This Idempotency-Key was sent with another request: make a new key for each."


class PreconditionRequired(Problem):
    status, slug = 428, "precondition-required"
    detail = "Send the record's ETag in If-Match."


class TooManyRequests(Problem):
    status, slug = 429, "too-many-requests"
    detail = "Too many requests: try again later."


class UriTooLong(Problem):
    status, slug = 414, "uri-too-long"
    detail = "The address of the request is too long."


class HeadTooLarge(Problem):
    status, slug = 431, "head-too-large"
    detail = "The request's line and headers are too large."


class InsufficientStorage(Problem):
    status, slug = 507, "insufficient-storage"
    detail = "There is no room for the body at the moment: nothing was stored."


class Unavailable(Problem):
    status, slug = 503, "unavailable"
    detail = "The database cannot answer at the moment: try again."
    headers: Mapping[str, str] = {"Retry-After": "1"}


def unacceptable(errors: Iterable[Mapping[str, Any]], location: str | None = None) -> Unacceptable:
    """Turn pydantic's errors into a problem; neither the input nor the context is repeated."""
    found = []
    for error in islice(told(errors), MOST_ERRORS):
        where, *path = error["loc"] if location is None else (location, *error["loc"])
        detail, kind = error["msg"], error["type"]
        at = pointer_to(*path)
        found.append(FieldError(pointer=at, location=str(where), detail=detail, type=kind))
    return Unacceptable(errors=found)
