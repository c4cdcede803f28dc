"""Todos: table, schemas and routes."""

from typing import Annotated

from fastapi import Depends, Request, Response
from sqlmodel import Field

from songbook.auth import OPEN
from songbook.bulk import imports_of
from songbook.crud import Id, IfMatch, IfNoneMatch, ReadDep, Records, View, WriteDep, view_of
from songbook.http import Router
from songbook.lists import Page, page_of
from songbook.models import (
    Partial,
    Record,
    RecordPublic,
    Schema,
    SoftDelete,
    Timestamps,
)

router = Router(prefix="/todos", tags=["todos"], dependencies=[OPEN])


class TodoBase(Schema):
    """The fields shared by requests, responses and the table."""

    content: str = Field(max_length=10_000)


class Todo(TodoBase, Timestamps, SoftDelete, Record, table=True):
    """The table."""


class TodoCreate(TodoBase):
    """The body of a POST or a PUT."""


class TodoUpdate(TodoBase, Partial):
    """The body of a PATCH; omitted fields stay unchanged."""


class TodoPublic(Timestamps, TodoBase, RecordPublic):
    """The representation in responses."""


class TodoList(Schema):
    """A page of todos, and their total number."""

    count: int = Field(ge=0)
    items: list[TodoPublic]


todos = Records(Todo, TodoPublic)
TodosPage = Annotated[Page, Depends(page_of(todos, sort="-created_at", counted=True))]
TodoView = Annotated[View, Depends(view_of(todos))]


@router.get("", response_model=TodoList, summary="List all todos")
async def list_todos(page: TodosPage, db: ReadDep) -> Response:
    """List the todos that are not deleted, a page at a time."""
    return await page.response(db)


@router.post(
    "",
    response_model=TodoPublic,
    status_code=201,
    bulk=imports_of(todos, TodoCreate),
    summary="Create a new todo",
)
async def create_todo(body: TodoCreate, request: Request, db: WriteDep) -> Response:
    """Create a todo."""
    row = await db.fetch(todos.insert(body.model_dump()))
    return todos.created(row, request)


@router.get("/{id}", response_model=TodoPublic, summary="Retrieve a todo")
async def read_todo(id: Id, view: TodoView, if_none_match: IfNoneMatch, db: ReadDep) -> Response:
    """Read a todo."""
    row = await db.fetch(todos.select(id, view))
    return todos.found(row, if_none_match)


@router.put("/{id}", response_model=TodoPublic, summary="Update a todo")
async def replace_todo(id: Id, if_match: IfMatch, body: TodoCreate, db: WriteDep) -> Response:
    """Replace the content of a todo."""
    row = await db.fetch(todos.update(id, body.model_dump(), if_match))
    return todos.updated(row)


@router.patch("/{id}", response_model=TodoPublic)
async def update_todo(id: Id, if_match: IfMatch, body: TodoUpdate, db: WriteDep) -> Response:
    """Change some fields of a todo."""
    row = await db.fetch(todos.update(id, body.model_dump(exclude_unset=True), if_match))
    return todos.updated(row)


@router.delete("/{id}", status_code=204, summary="Delete a todo")
async def delete_todo(id: Id, if_match: IfMatch, db: WriteDep) -> Response:
    """Delete a todo, which can be restored until it is purged."""
    row = await db.fetch(todos.delete(id, if_match))
    return todos.deleted(row)


@router.post("/{id}/restore", response_model=TodoPublic)
async def restore_todo(id: Id, db: WriteDep) -> Response:
    """Restore a deleted todo; another one stays unchanged."""
    row = await db.fetch(todos.restore(id))
    return todos.updated(row)
