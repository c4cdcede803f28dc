"""The statements and responses of a resource."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from asyncpg import Record as Row
from sqlmodel import SQLModel
from starlette.requests import Request
from starlette.responses import Response

from songbook.crud import statements
from songbook.crud.preconditions import EntityTags, etag, versions_of
from songbook.db import BoundStatement
from songbook.errors import NotFound, PreconditionFailed
from songbook.http import JSONText
from songbook.models import Record, column_types, display_name, table_of


@dataclass(frozen=True)
class Records:
    """A table and its Public class: statements for single records, and responses of their rows."""

    table: type[Record]
    public: type[SQLModel]

    def __post_init__(self) -> None:
        """Raise TypeError for a member of the Public class that PostgreSQL could not write."""
        columns, types = table_of(self.table).c, column_types(self.table)
        name = self.public.__name__
        for field in (*self.public.model_fields, *self.public.model_computed_fields):
            if field not in columns:
                raise TypeError(
                    f"{name}.{field}: the table {self.table.__name__} has no such column"
                )
            if field not in types:
                raise TypeError(
                    f"{name}.{field}: a column of type {columns[field].type} is not shown"
                )

    def select(self, id: int) -> BoundStatement:
        """Select a record; for `found`."""
        return statements.select_record(self.table, self.public, id)

    def insert(self, fields: Mapping[str, Any]) -> BoundStatement:
        """Insert a record; for `created`."""
        return statements.insert_record(self.table, self.public, fields)

    def update(
        self, id: int, fields: Mapping[str, Any], if_match: EntityTags | None = None
    ) -> BoundStatement:
        """Update fields of a record that matches the condition; for `updated`.

        A value may be an SQL expression, such as `Song.plays + 1`.
        """
        versions = versions_of(if_match, self.public)
        return statements.update_record(self.table, self.public, id, fields, versions)

    def delete(self, id: int, if_match: EntityTags | None = None) -> BoundStatement:
        """Delete a record that matches the condition; for `deleted`."""
        versions = versions_of(if_match, self.public)
        return statements.delete_record(self.table, id, versions)

    def restore(self, id: int) -> BoundStatement:
        """Restore a deleted record; for `updated`."""
        return statements.restore_record(self.table, self.public, id)

    def found(self, row: Row | None, if_none_match: EntityTags | None = None) -> Response:
        """Return 200 with the record, or 304. Raises NotFound."""
        if row is None:
            raise self._not_found()
        tag = etag(row["version"], self.public)
        if if_none_match and if_none_match.match_weakly(tag):
            return JSONText("", tag, 304)
        return JSONText(row["document"], tag)

    def created(self, row: Row | None, request: Request) -> Response:
        """Return 201 with the record, and its path in Location."""
        assert row is not None, "INSERT … RETURNING returns a row"
        location = f"{quote(request.scope['path'])}/{row['id']}"
        tag = etag(row["version"], self.public)
        return JSONText(row["document"], tag, 201, {"location": location})

    def updated(self, row: Row | None) -> Response:
        """Return 200 with the record. Raises NotFound or PreconditionFailed."""
        if row is None:
            raise self._not_found()
        if row["version"] is None:
            raise self._not_matched(row)
        return JSONText(row["document"], etag(row["version"], self.public))

    def deleted(self, row: Row | None) -> Response:
        """Return 204. Raises NotFound or PreconditionFailed."""
        if row is None:
            raise self._not_found()
        if row["id"] is None:
            raise self._not_matched(row)
        return Response(status_code=204)

    def _not_found(self) -> NotFound:
        return NotFound(f"{display_name(self.public)} not found")

    def _not_matched(self, row: Row) -> PreconditionFailed:
        return PreconditionFailed(headers={"ETag": etag(row["current_version"], self.public)})
