"""The exceptions that become error responses."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any
from urllib.parse import quote

from songbook.errors.details import FieldError, ImportReport, ProblemDetails, title_of
from songbook.errors.field_errors import message_of, pointer_to, relevant

MAX_ERRORS = 20


class Problem(Exception):
    """An error response; its type is `/problems/{slug}`."""

    status, slug = 500, "internal"
    detail = "The service failed to handle the request; the error is logged with the request id."
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
        """Return the JSON of the problem details for the request of a path."""
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
    """The request is malformed (400)."""

    status, slug = 400, "malformed"
    detail = "The request is malformed."


class BadCursor(BadRequest):
    """The cursor does not belong to this list (400)."""

    slug = "bad-cursor"
    detail = "The cursor in `after` belongs to another list, filter or order: leave it out."


class Unauthenticated(Problem):
    """The request has no valid credentials (401)."""

    status, slug = 401, "unauthenticated"
    detail = "Not authenticated"
    headers: Mapping[str, str] = {"WWW-Authenticate": "Bearer"}


class Forbidden(Problem):
    """The user lacks the permission (403)."""

    status, slug = 403, "forbidden"
    detail = "You do not have permission to do this."


class NotFound(Problem):
    """The path or the record does not exist (404)."""

    status, slug = 404, "not-found"
    detail = "This path does not exist."


class MethodNotAllowed(Problem):
    """The path does not support the method (405)."""

    status, slug = 405, "method-not-allowed"
    detail = "This path does not support the method: see the Allow header."


class RequestTimeout(Problem):
    """The body did not arrive in time (408)."""

    status, slug = 408, "too-slow"
    detail = "The body did not arrive in time."
    headers: Mapping[str, str] = {"Connection": "close"}


class Conflict(Problem):
    """The request conflicts with stored records (409)."""

    status, slug = 409, "conflict"
    detail = "The request conflicts with stored records."


class IdempotencyKeyInUse(Conflict):
    """A request with the same Idempotency-Key is in progress (409)."""

    slug = "idempotency-key-in-use"
    detail = "A request with this Idempotency-Key is still in progress: try again."
    headers: Mapping[str, str] = {"Retry-After": "1"}


class PreconditionFailed(Problem):
    """The record does not meet If-Match or If-None-Match (412)."""

    status, slug = 412, "precondition-failed"
    detail = (
        "The condition in If-Match or If-None-Match does not hold for the record: read it again."
    )


class ContentTooLarge(Problem):
    """The body exceeds the limit (413)."""

    status, slug = 413, "too-large"
    headers: Mapping[str, str] = {"Connection": "close"}


class UnsupportedMediaType(Problem):
    """The route does not accept the media type or encoding of the body (415)."""

    status, slug = 415, "unsupported-media-type"


class UnprocessableContent(Problem):
    """The request is well formed, but has invalid values (422)."""

    status, slug = 422, "validation"
    detail = "The request does not fit the schema."


class IdempotencyKeyReused(UnprocessableContent):
    """The Idempotency-Key belongs to another request (422)."""

    slug = "idempotency-key-reused"
    detail = "This Idempotency-Key was used for another request: send a new one."


class PreconditionRequired(Problem):
    """The service requires If-Match for changes (428)."""

    status, slug = 428, "precondition-required"
    detail = "Send the record's ETag in If-Match."


class TooManyRequests(Problem):
    """A rate limit is exceeded (429); the headers need `Retry-After`."""

    status, slug = 429, "too-many-requests"
    detail = "Too many requests: try again later."


class UriTooLong(Problem):
    """The URI exceeds the limit (414)."""

    status, slug = 414, "uri-too-long"
    detail = "The URI of the request is too long."


class HeaderFieldsTooLarge(Problem):
    """The request line and headers exceed the limit (431)."""

    status, slug = 431, "head-too-large"
    detail = "The request line and headers are too large."


class TransferCodingNotImplemented(Problem):
    """The body has another transfer coding than `chunked` (501)."""

    status, slug = 501, "transfer-coding"
    detail = "The only Transfer-Encoding that this service decodes is `chunked`."


class HttpVersionNotSupported(Problem):
    """The request has another major version of HTTP than 1 (505)."""

    status, slug = 505, "http-version"
    detail = "This service speaks HTTP/1.1."


class InsufficientStorage(Problem):
    """The disk is full (507)."""

    status, slug = 507, "insufficient-storage"
    detail = "The disk for temporary files is full: nothing was stored."


class ServiceUnavailable(Problem):
    """The database is unavailable (503)."""

    status, slug = 503, "unavailable"
    detail = "The database is unavailable at the moment: try again."
    headers: Mapping[str, str] = {"Retry-After": "1"}


class OutcomeUnknown(ServiceUnavailable):
    """The connection to the database broke after a write was sent (503): it may be stored."""

    slug = "outcome-unknown"
    detail = (
        "The connection to the database broke before its answer, and the change may be stored: read"
        " whether it is before you repeat the request. With an Idempotency-Key it can be repeated"
        " safely: send one next time."
    )
    headers: Mapping[str, str] = {}


def from_pydantic(
    errors: Iterable[Mapping[str, Any]], location: str | None = None
) -> UnprocessableContent:
    """Return the problem of pydantic's errors, without their input and context."""
    fields = []
    for error in islice(relevant(errors), MAX_ERRORS):
        where, *path = error["loc"] if location is None else (location, *error["loc"])
        at, detail = pointer_to(*path), message_of(error)
        field = FieldError(pointer=at, location=str(where), detail=detail, type=error["type"])
        fields.append(field)
    return UnprocessableContent(errors=fields)
