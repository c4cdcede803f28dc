"""Novels, which refer to a publisher and may refer to a town: table, schemas and routes."""

from decimal import Decimal
from typing import Annotated

from fastapi import Depends, Request, Response
from sqlmodel import Field

from songbook.auth import OPEN
from songbook.bulk import imports_of
from songbook.crud import Id, IfMatch, IfNoneMatch, ReadDep, Records, View, WriteDep, view_of
from songbook.http import Router
from songbook.lists import Page, page_of
from songbook.models import Partial, RecordPublic, Schema, SoftDelete
from tests.samples.tables import Stored

router = Router(prefix="/novels", tags=["novels"], dependencies=[OPEN])


class NovelBase(Schema):
    """The fields shared by requests, responses and the table."""

    title: str = Field(unique=True)
    price: Decimal | None = Field(default=None, max_digits=6, decimal_places=2)
    publisher_id: int = Field(foreign_key="publisher.id")
    town_id: int | None = Field(default=None, foreign_key="towns.id", ondelete="SET NULL")


class Novel(NovelBase, SoftDelete, Stored, table=True):
    """The table."""


class NovelCreate(NovelBase):
    """The body of a POST or a PUT."""


class NovelUpdate(NovelBase, Partial):
    """The body of a PATCH; omitted fields stay unchanged."""


class NovelPublic(NovelBase, RecordPublic):
    """The representation in responses."""


novels = Records(Novel, NovelPublic)
NovelsPage = Annotated[Page, Depends(page_of(novels))]
NovelView = Annotated[View, Depends(view_of(novels))]


@router.get("", response_model=list[NovelPublic])
async def list_novels(page: NovelsPage, db: ReadDep) -> Response:
    """List novels, a page at a time."""
    return await page.response(db)


@router.post("", response_model=NovelPublic, status_code=201, bulk=imports_of(novels, NovelCreate))
async def create_novel(body: NovelCreate, request: Request, db: WriteDep) -> Response:
    """Create a novel."""
    row = await db.fetch(novels.insert(body.model_dump()))
    return novels.created(row, request)


@router.get("/{id}", response_model=NovelPublic)
async def read_novel(id: Id, view: NovelView, if_none_match: IfNoneMatch, db: ReadDep) -> Response:
    """Read a novel."""
    row = await db.fetch(novels.select(id, view))
    return novels.found(row, if_none_match)


@router.put("/{id}", response_model=NovelPublic)
async def replace_novel(id: Id, if_match: IfMatch, body: NovelCreate, db: WriteDep) -> Response:
    """Replace a novel: an optional field that is left out is reset."""
    row = await db.fetch(novels.update(id, body.model_dump(), if_match))
    return novels.updated(row)


@router.patch("/{id}", response_model=NovelPublic)
async def update_novel(id: Id, if_match: IfMatch, body: NovelUpdate, db: WriteDep) -> Response:
    """Change some fields of a novel."""
    row = await db.fetch(novels.update(id, body.model_dump(exclude_unset=True), if_match))
    return novels.updated(row)


@router.delete("/{id}", status_code=204)
async def delete_novel(id: Id, if_match: IfMatch, db: WriteDep) -> Response:
    """Delete a novel: it can be restored until it is purged."""
    row = await db.fetch(novels.delete(id, if_match))
    return novels.deleted(row)


@router.post("/{id}/restore", response_model=NovelPublic)
async def restore_novel(id: Id, db: WriteDep) -> Response:
    """Take the deletion of a novel back; one that is not deleted stays as it is."""
    row = await db.fetch(novels.restore(id))
    return novels.updated(row)
