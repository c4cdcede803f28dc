"""The statements and responses of a resource."""

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from asyncpg import Record as Row
from starlette.requests import Request
from starlette.responses import Response

from songbook.crud import statements
from songbook.crud.preconditions import EntityTags, etag, versions_of
from songbook.crud.views import ITSELF, View
from songbook.db import BoundStatement
from songbook.errors import NotFound, PreconditionFailed
from songbook.http import JSON, JSONText
from songbook.models import Representation, display_name


class Records(Representation):
    """A table and its Public class: statements for single records, and responses of their rows."""

    def select(self, id: int, view: View = ITSELF) -> BoundStatement:
        """Select a record, with what the request asks to see of it and beside it; for `found`."""
        return statements.select_record(self, id, view)

    def insert(self, fields: Mapping[str, Any]) -> BoundStatement:
        """Insert a record; for `created`."""
        return statements.insert_record(self, fields)

    def update(
        self, id: int, fields: Mapping[str, Any], if_match: EntityTags | None = None
    ) -> BoundStatement:
        """Update fields of a record that matches the condition; for `updated`.

        A value may be an SQL expression, such as `Song.plays + 1`.
        """
        versions = versions_of(if_match, self, id)
        return statements.update_record(self, id, fields, versions)

    def delete(self, id: int, if_match: EntityTags | None = None) -> BoundStatement:
        """Delete a record that matches the condition; for `deleted`."""
        versions = versions_of(if_match, self, id)
        return statements.delete_record(self.table, id, versions)

    def restore(self, id: int) -> BoundStatement:
        """Restore a deleted record; for `updated`."""
        return statements.restore_record(self, id)

    def found(self, row: Row | None, if_none_match: EntityTags | None = None) -> Response:
        """Return 200 with the record, or 304. Raises NotFound."""
        if row is None:
            raise self._not_found()
        tag = self._etag(row)
        if if_none_match and if_none_match.match_weakly(tag):
            return JSONText("", tag, 304)
        return JSONText(row["document"], tag)

    def created(self, row: Row | None, request: Request) -> Response:
        """Return 201 with the record, and its path in Location."""
        assert row is not None, "INSERT … RETURNING returns a row"
        location = f"{quote(request.scope['path'])}/{row['id']}"
        tag = self._etag(row)
        return JSONText(row["document"], tag, 201, {"location": location})

    def all_created(self, rows: Iterable[Row | None]) -> Response:
        """Return 201 with an array of the records."""
        documents = ",".join(row["document"] for row in rows if row)
        return Response(f"[{documents}]", 201, media_type=JSON)

    def updated(self, row: Row | None) -> Response:
        """Return 200 with the record. Raises NotFound or PreconditionFailed."""
        if row is None:
            raise self._not_found()
        if row["version"] is None:
            raise self._not_matched(row)
        return JSONText(row["document"], self._etag(row))

    def deleted(self, row: Row | None) -> Response:
        """Return 204. Raises NotFound or PreconditionFailed."""
        if row is None:
            raise self._not_found()
        if row["deleted_id"] is None:
            raise self._not_matched(row)
        return Response(status_code=204)

    def _etag(self, row: Row) -> str:
        return etag(self, row["id"], row["version"], row.get("digest", ""))

    def _not_found(self) -> NotFound:
        return NotFound(f"{display_name(self.public)} not found")

    def _not_matched(self, row: Row) -> PreconditionFailed:
        return PreconditionFailed(headers={"ETag": etag(self, row["id"], row["current_version"])})
