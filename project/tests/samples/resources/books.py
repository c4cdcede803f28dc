"""Books, from the table to the wire."""

from typing import Annotated

from fastapi import Depends, Response
from sqlmodel import Field

from songbook.auth import OPEN
from songbook.bulk import imports_of
from songbook.crud import (
    Here,
    IfMatch,
    IfNoneMatch,
    OnceDep,
    WriteDep,
    answer_changed,
    answer_created,
    answer_found,
    answer_removed,
    changed,
    created,
    found,
    removed,
)
from songbook.http import DatabaseDep, Id, Router
from songbook.lists import Page, page_of
from songbook.models import Fields, Partial, RecordPublic, Text, Whole
from tests.samples.tables import Stored

router = Router(prefix="/books", tags=["books"], dependencies=[OPEN])

Year = Annotated[int, Whole(1, 9999)]


class BookBase(Fields):
    """What a client writes and reads."""

    name: Text
    author: Text
    year: Year | None = Field(default=None, index=True)


class Book(BookBase, Stored, table=True):
    """What is stored."""


class BookCreate(BookBase):
    """The body of a POST or a PUT."""


class BookUpdate(BookBase, Partial):
    """The body of a PATCH: a field left out stays as it is."""


class BookPublic(BookBase, RecordPublic):
    """What a client is shown."""


BooksPage = Annotated[Page, Depends(page_of(Book, BookPublic))]

IMPORTS = imports_of(Book, BookCreate)


@router.get("", response_model=list[BookPublic])
async def list_books(page: BooksPage, db: DatabaseDep) -> Response:
    """List books, a page at a time."""
    return await page.answer(db)


@router.post("", response_model=BookPublic, status_code=201, dependencies=[IMPORTS])
async def create_book(body: BookCreate, here: Here, db: OnceDep) -> Response:
    """Create a book."""
    row = await db.fetch(created(Book, BookPublic, body.model_dump()))
    return answer_created(row, BookPublic, here)


@router.get("/{id}", response_model=BookPublic)
async def read_book(id: Id, if_none_match: IfNoneMatch, db: DatabaseDep) -> Response:
    """Read a book."""
    row = await db.fetch(found(Book, BookPublic, id))
    return answer_found(row, BookPublic, if_none_match)


@router.put("/{id}", response_model=BookPublic)
async def replace_book(id: Id, if_match: IfMatch, body: BookCreate, db: WriteDep) -> Response:
    """Replace a book: an optional field that is left out is reset."""
    row = await db.fetch(changed(Book, BookPublic, id, body.model_dump(), if_match))
    return answer_changed(row, BookPublic)


@router.patch("/{id}", response_model=BookPublic)
async def update_book(id: Id, if_match: IfMatch, body: BookUpdate, db: OnceDep) -> Response:
    """Change some fields of a book."""
    row = await db.fetch(changed(Book, BookPublic, id, body.sent(), if_match))
    return answer_changed(row, BookPublic)


@router.delete("/{id}", status_code=204)
async def delete_book(id: Id, if_match: IfMatch, db: WriteDep) -> Response:
    """Delete a book."""
    row = await db.fetch(removed(Book, BookPublic, id, if_match))
    return answer_removed(row, BookPublic)
