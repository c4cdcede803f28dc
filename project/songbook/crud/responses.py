"""The answers: a row that the database wrote, with the headers that its version and its id give."""

from typing import Annotated
from urllib.parse import quote

from asyncpg import Record as Row
from fastapi import Depends
from sqlmodel import SQLModel
from starlette.requests import Request
from starlette.responses import Response

from songbook.crud.preconditions import Tags, tag_of
from songbook.errors import NotFound, PreconditionFailed
from songbook.http import Answer, guard
from songbook.models import noun_of


@guard()
async def here(request: Request) -> str:
    """Return the path that the client asked for, under its prefix, without a trailing slash."""
    path: str = request.scope["path"]
    return path


Here = Annotated[str, Depends(here)]


def not_found(public: type[SQLModel]) -> NotFound:
    """Return the problem that a record is not there, by its name: "Song not found"."""
    return NotFound(f"{noun_of(public)} not found")


def answer_found(row: Row | None, public: type[SQLModel], if_none_match: Tags | None) -> Response:
    """Answer with a record, or with 304 when the client has it already."""
    if row is None:
        raise not_found(public)
    tag = tag_of(row[0], public)
    if if_none_match and if_none_match.match_weakly(tag):
        return Answer("", tag, 304)
    return Answer(row[1], tag)


def answer_created(row: Row | None, public: type[SQLModel], here: str) -> Response:
    """Answer with the record that was stored, and its address."""
    assert row is not None, "INSERT … RETURNING gives a row"
    return Answer(row[2], tag_of(row[1], public), 201, {"location": f"{quote(here)}/{row[0]}"})


def answer_changed(row: Row | None, public: type[SQLModel]) -> Response:
    """Answer with the record as it was stored; raise NotFound or PreconditionFailed if not."""
    _, version, content = _matched(row, public)
    return Answer(content, tag_of(version, public))


def answer_removed(row: Row | None, public: type[SQLModel]) -> Response:
    """Answer that the record is gone; raise NotFound or PreconditionFailed when it is not."""
    _matched(row, public)
    return Response(status_code=204)


def _matched(row: Row | None, public: type[SQLModel]) -> Row:
    if row is None:
        raise not_found(public)
    if row[1] is None:
        raise PreconditionFailed(headers={"ETag": tag_of(row[0], public)})
    return row
