"""Entity tags and conditional requests (RFC 9110, sections 8.8 and 13)."""

import json
import re
from functools import cache
from hashlib import sha256
from typing import Annotated, Any

from fastapi import Depends
from sqlmodel import SQLModel
from starlette.requests import Request

from songbook.errors import BadRequest, PreconditionFailed, PreconditionRequired, field_error
from songbook.http import StrictRequest, dependency
from songbook.models import Representation, table_of

_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_TAGS = re.compile(rf"[\t ,]*{_TAG}(?:[\t ]*,[\t ,]*{_TAG})*[\t ,]*")
_ONE_TAG = re.compile(_TAG)
_ANNOTATIONS = {"title", "description", "examples", "default", "deprecated"}
_VERSION = re.compile(r'"([0-9a-f]{6}-[1-9][0-9]{0,18})-([1-9][0-9]{0,8})(?:\.[0-9a-f]+)?"')

# one text, because few generators of clients read `anyOf`
_TAGS_SCHEMA = {"type": "string", "pattern": rf"^(\*|{_TAGS.pattern})$"}


class EntityTags:
    """The entity tags of a header; `any` if it is `*`."""

    def __init__(self, header: str) -> None:
        self.any = header.strip() == "*"
        self.tags = [] if self.any else _ONE_TAG.findall(header)

    def match_weakly(self, tag: str) -> bool:
        """Return whether a tag matches by weak comparison (If-None-Match)."""
        return self.any or any(each.removeprefix("W/") == tag for each in self.tags)


@cache
def schema_fingerprint(public: type[SQLModel]) -> str:
    """Return six hex digits that change with the fields and their types, not with descriptions."""
    fields = public.model_json_schema(mode="serialization")["properties"]
    shape = {name: _constraints(schema) for name, schema in fields.items()}
    return sha256(json.dumps(shape).encode()).hexdigest()[:6]


def _constraints(schema: Any) -> Any:
    """Return a JSON schema without what does not change the values."""
    if isinstance(schema, dict):
        return {key: _constraints(each) for key, each in schema.items() if key not in _ANNOTATIONS}
    return [_constraints(each) for each in schema] if isinstance(schema, list) else schema


@cache
def _fingerprint(shown: Representation) -> str:
    """Return six hex digits of a table and its schema, so that old tags stop matching."""
    named = f"{table_of(shown.table).name} {schema_fingerprint(shown.public)}"
    return sha256(named.encode()).hexdigest()[:6]


def versions_of(if_match: EntityTags | None, shown: Representation, id: int) -> list[int] | None:
    """Return the versions in the strong tags of this record, None for any version."""
    if if_match is None or if_match.any:
        return None
    matches = (_VERSION.fullmatch(tag) for tag in if_match.tags)
    record = f"{_fingerprint(shown)}-{id}"
    return [int(match[2]) for match in matches if match and match[1] == record]


def etag(shown: Representation, id: int, version: int, digest: str = "") -> str:
    """Return the strong entity tag of a version of a record, which no other record has.

    `digest` is the hash of what is shown where that depends on more than the record; a condition of
    a change ignores it.
    """
    suffix = f".{digest[:16]}" if digest else ""
    return f'"{_fingerprint(shown)}-{id}-{version}{suffix}"'


def require_version(
    if_match: EntityTags | None, shown: Representation, id: int, version: int
) -> EntityTags:
    """Narrow a condition to one version. Raises PreconditionFailed if it excludes that."""
    tag = etag(shown, id, version)
    versions = versions_of(if_match, shown, id)
    if versions is not None and version not in versions:
        raise PreconditionFailed(headers={"ETag": tag})
    return EntityTags(tag)


def _parameter(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "description": description, "schema": _TAGS_SCHEMA}


def read_tags(request: Request, name: str) -> EntityTags | None:
    """Return the tags of a header, None without it. Raises BadRequest if malformed."""
    header = request.headers.get(name)
    if header is None:
        return None
    header = ",".join(request.headers.getlist(name))
    if header.strip() != "*" and not _TAGS.fullmatch(header):
        detail = "Should be * or entity tags in double quotes"
        raise BadRequest(errors=[field_error("header", name, detail, "entity_tags")])
    return EntityTags(header)


# without examples, which "Try it out" would send: `*` overwrites what nobody has seen
IF_NONE_MATCH = _parameter("If-None-Match", "The ETags of the versions that the client has.")
IF_MATCH = _parameter("If-Match", "The ETag of the version to change, or `*`.")


@dependency(IF_NONE_MATCH, error_statuses=(400,))
async def if_none_match(request: StrictRequest) -> EntityTags | None:
    """Return the condition for 304."""
    return read_tags(request, "If-None-Match")


@dependency(IF_MATCH, error_statuses=(400, 412, 428))
async def if_match(request: StrictRequest) -> EntityTags | None:
    """Return the condition of a change.

    `If-None-Match: *` is one that no record fulfils: what is there is not overwritten. Raises
    BadRequest for its other values, which are for reading, and PreconditionRequired if If-Match is
    missing and required.
    """
    if tags := read_tags(request, "If-Match"):
        return tags
    if request.service.settings.require_if_match:
        raise PreconditionRequired
    unwanted = read_tags(request, "If-None-Match")
    if unwanted and not unwanted.any:
        detail = "Should be * for a change: send the tags as If-Match"
        raise BadRequest(errors=[field_error("header", "If-None-Match", detail, "entity_tags")])
    return EntityTags("") if unwanted else None


IfNoneMatch = Annotated[EntityTags | None, Depends(if_none_match)]
IfMatch = Annotated[EntityTags | None, Depends(if_match)]
