"""Publishers: table, schemas and routes."""

from typing import Annotated

from fastapi import Depends, Request, Response
from sqlalchemy import bindparam
from sqlmodel import Field, col, func, select

from songbook.auth import OPEN
from songbook.bulk import imports_of
from songbook.crud import Id, IfMatch, IfNoneMatch, ReadDep, Records, View, WriteDep, view_of
from songbook.http import Router
from songbook.lists import Page, page_of
from songbook.models import Partial, RecordPublic, Schema, SoftDelete, not_deleted
from tests.samples.resources.novels import Novel, NovelPublic, novels
from tests.samples.tables import Stored

router = Router(prefix="/publishers", tags=["publishers"], dependencies=[OPEN])


class PublisherBase(Schema):
    """The fields shared by requests, responses and the table."""

    name: str = Field(unique=True)
    country: str | None = Field(default=None, max_length=2)


class Publisher(PublisherBase, SoftDelete, Stored, table=True):
    """The table."""


class PublisherCreate(PublisherBase):
    """The body of a POST or a PUT."""


class PublisherUpdate(PublisherBase, Partial):
    """The body of a PATCH; omitted fields stay unchanged."""


class PublisherPublic(PublisherBase, RecordPublic):
    """The representation in responses."""

    novel_count: int


NOVEL_COUNT = (
    select(func.count())
    .select_from(Novel)
    .where(col(Novel.publisher_id) == col(Publisher.id), *not_deleted(Novel))
    .scalar_subquery()
)

publishers = Records(Publisher, PublisherPublic, {"novel_count": NOVEL_COUNT})
PublishersPage = Annotated[Page, Depends(page_of(publishers))]
PublisherView = Annotated[View, Depends(view_of(publishers))]

published = page_of(
    novels,
    where=col(Novel.publisher_id) == bindparam("id"),
    parent=select(Publisher).where(col(Publisher.id) == bindparam("id")),
)
PublishedPage = Annotated[Page, Depends(published)]


@router.get("", response_model=list[PublisherPublic])
async def list_publishers(page: PublishersPage, db: ReadDep) -> Response:
    """List publishers, a page at a time."""
    return await page.response(db)


@router.post(
    "",
    response_model=PublisherPublic,
    status_code=201,
    bulk=imports_of(publishers, PublisherCreate),
)
async def create_publisher(body: PublisherCreate, request: Request, db: WriteDep) -> Response:
    """Create a publisher."""
    row = await db.fetch(publishers.insert(body.model_dump()))
    return publishers.created(row, request)


@router.get("/{id}", response_model=PublisherPublic)
async def read_publisher(
    id: Id, view: PublisherView, if_none_match: IfNoneMatch, db: ReadDep
) -> Response:
    """Read a publisher."""
    row = await db.fetch(publishers.select(id, view))
    return publishers.found(row, if_none_match)


@router.get("/{id}/novels", response_model=list[NovelPublic])
async def list_published_novels(id: Id, page: PublishedPage, db: ReadDep) -> Response:
    """List the novels of a publisher, a page at a time."""
    return await page.response(db, id=id)


@router.put("/{id}", response_model=PublisherPublic)
async def replace_publisher(
    id: Id, if_match: IfMatch, body: PublisherCreate, db: WriteDep
) -> Response:
    """Replace a publisher: an optional field that is left out is reset."""
    row = await db.fetch(publishers.update(id, body.model_dump(), if_match))
    return publishers.updated(row)


@router.patch("/{id}", response_model=PublisherPublic)
async def update_publisher(
    id: Id, if_match: IfMatch, body: PublisherUpdate, db: WriteDep
) -> Response:
    """Change some fields of a publisher."""
    row = await db.fetch(publishers.update(id, body.model_dump(exclude_unset=True), if_match))
    return publishers.updated(row)


@router.delete("/{id}", status_code=204)
async def delete_publisher(id: Id, if_match: IfMatch, db: WriteDep) -> Response:
    """Delete a publisher without novels: it can be restored until it is purged."""
    row = await db.fetch(publishers.delete(id, if_match))
    return publishers.deleted(row)


@router.post("/{id}/restore", response_model=PublisherPublic)
async def restore_publisher(id: Id, db: WriteDep) -> Response:
    """Take the deletion of a publisher back; one that is not deleted stays as it is."""
    row = await db.fetch(publishers.restore(id))
    return publishers.updated(row)
