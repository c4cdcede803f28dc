"""The rows of a list that a query string asks for: which, in what order, behind which cursor."""

import json
from functools import cached_property
from typing import Any

from sqlmodel import SQLModel

from songbook.crud import revision
from songbook.db import Query
from songbook.errors import BadCursor, Unacceptable, field_error
from songbook.http import CSV, JSON
from songbook.lists.cursors import decode_cursor
from songbook.lists.filters import offered
from songbook.lists.params import DEFAULT_LIMIT, ask
from songbook.lists.statements import Shape, Writing, export_statement, page_statement
from songbook.models import Record, table_of


class Selection:
    """The rows that one request asks for; `sort` is the order where it asks for none.

    Raises Unacceptable for what does not fit, and BadCursor for a cursor of another list.
    """

    def __init__(
        self, model: type[Record], public: type[SQLModel], query_string: bytes, sort: str
    ) -> None:
        self.asked = ask(model, public, query_string, sort)
        self._classes = (model, public)
        self._cursor = self._read_cursor()

    @cached_property
    def bound_to(self) -> str:
        """Return what a cursor belongs to: the list, its filters and its order."""
        other = {"limit", "after", "count", "sort", "escape"}
        filters = sorted(pair for pair in self.asked.pairs if pair[0] not in other)
        model, public = self._classes
        return json.dumps([table_of(model).name, revision(public), self.asked.order, filters])

    @property
    def limit(self) -> int:
        """Return how many rows a page has at most."""
        return self.asked.limit or DEFAULT_LIMIT

    def page(self, *, counted: bool) -> Query:
        """Return the query of a page, and of one row more, which tells whether there is another."""
        self._refuse_but(JSON)
        statement = page_statement(*self._classes, self._shape(counted or self.asked.counted))
        return statement.of({**self._values, "rows": self.limit + 1})

    def export(self, media_type: str) -> Query:
        """Return the query of all the rows, as COPY is to write them."""
        self._refuse_but(media_type)
        limit = self.asked.limit
        written = Writing(media_type == CSV, self.asked.escaped, limit is not None)
        statement = export_statement(*self._classes, self._shape(counted=False), written)
        return statement.of({**self._values, "rows": limit})

    def count(self) -> Query:
        """Return a query whose row has the number of all rows in its third column."""
        statement = page_statement(*self._classes, self._shape(counted=True))
        return statement.of({**self._values, "rows": 1})

    def _shape(self, counted: bool) -> Shape:  # noqa: FBT001 - it is the field's
        seen = self._cursor
        after = None if seen is None else tuple(value is not None for value in seen)
        return Shape(self.asked.conditions, self.asked.order, after, counted)

    @property
    def _values(self) -> dict[str, Any]:
        seen = {f"k{place}": value for place, value in enumerate(self._cursor or ())}
        return {**seen, **self.asked.values}

    def _refuse_but(self, media_type: str) -> None:
        """Refuse what only the answer of another format has."""
        asked = (("count", self.asked.counted, JSON), ("escape", self.asked.escaped, CSV))
        errors = [
            field_error("query", name, f"Is for answers as {only} alone", "format")
            for name, is_asked, only in asked
            if is_asked and only != media_type
        ]
        if errors:
            raise Unacceptable(errors=errors)

    def _read_cursor(self) -> list[Any] | None:
        """Return the values of the last row seen."""
        if self.asked.after is None:
            return None
        filters = offered(*self._classes)
        values = decode_cursor(self.asked.after, self.bound_to)
        try:
            return [
                None if value is None else filters[key.field].read(value)
                for key, value in zip(self.asked.order, values, strict=True)
            ]
        except ValueError:  # somebody made the cursor himself
            raise BadCursor from None
