"""Books: table, schemas and routes."""

from typing import Annotated

from fastapi import Depends, Request, Response
from sqlmodel import Field

from songbook.auth import OPEN
from songbook.bulk import imports_of
from songbook.crud import Id, IfMatch, IfNoneMatch, ReadDep, Records, View, WriteDep, view_of
from songbook.http import Router
from songbook.lists import Page, page_of
from songbook.models import Partial, RecordPublic, Schema
from tests.samples.tables import Stored

router = Router(prefix="/books", tags=["books"], dependencies=[OPEN])


class BookBase(Schema):
    """The fields shared by requests, responses and the table."""

    name: str
    author: str
    year: int | None = Field(default=None, ge=1, le=9999, index=True)


class Book(BookBase, Stored, table=True):
    """The table."""


class BookCreate(BookBase):
    """The body of a POST or a PUT."""


class BookUpdate(BookBase, Partial):
    """The body of a PATCH; omitted fields stay unchanged."""


class BookPublic(BookBase, RecordPublic):
    """The representation in responses."""


books = Records(Book, BookPublic)
BooksPage = Annotated[Page, Depends(page_of(books))]
BookView = Annotated[View, Depends(view_of(books))]


@router.get("", response_model=list[BookPublic])
async def list_books(page: BooksPage, db: ReadDep) -> Response:
    """List books, a page at a time."""
    return await page.response(db)


@router.post("", response_model=BookPublic, status_code=201, bulk=imports_of(books, BookCreate))
async def create_book(body: BookCreate, request: Request, db: WriteDep) -> Response:
    """Create a book."""
    row = await db.fetch(books.insert(body.model_dump()))
    return books.created(row, request)


@router.get("/{id}", response_model=BookPublic)
async def read_book(id: Id, view: BookView, if_none_match: IfNoneMatch, db: ReadDep) -> Response:
    """Read a book."""
    row = await db.fetch(books.select(id, view))
    return books.found(row, if_none_match)


@router.put("/{id}", response_model=BookPublic)
async def replace_book(id: Id, if_match: IfMatch, body: BookCreate, db: WriteDep) -> Response:
    """Replace a book: an optional field that is left out is reset."""
    row = await db.fetch(books.update(id, body.model_dump(), if_match))
    return books.updated(row)


@router.patch("/{id}", response_model=BookPublic)
async def update_book(id: Id, if_match: IfMatch, body: BookUpdate, db: WriteDep) -> Response:
    """Change some fields of a book."""
    row = await db.fetch(books.update(id, body.model_dump(exclude_unset=True), if_match))
    return books.updated(row)


@router.delete("/{id}", status_code=204)
async def delete_book(id: Id, if_match: IfMatch, db: WriteDep) -> Response:
    """Delete a book."""
    row = await db.fetch(books.delete(id, if_match))
    return books.deleted(row)
