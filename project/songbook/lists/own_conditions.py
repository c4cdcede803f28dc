"""The condition of a list of its own, whose values come with each request."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Select, SQLColumnExpression, and_, bindparam
from sqlalchemy import select as select_columns
from sqlalchemy.sql.visitors import replacement_traverse

from songbook.db import DIALECT, CompiledStatement, Use
from songbook.models import (
    Record,
    check_owners,
    display_name,
    names_owners,
    not_deleted,
    own_rows,
    rebase,
    table_of,
)


class OwnCondition:
    """The condition of a list of its own, and the parent without which there is no list.

    Both may have `bindparam`s, whose values each request gives by name.
    """

    where: ColumnElement[bool] | None = None
    has_parent: ColumnElement[bool] | None = None
    """Whether there is a parent that is not deleted, and one of the principal by default."""

    parent_name = ""

    def __init__(
        self,
        model: type[Record],
        where: SQLColumnExpression[bool] | None,
        parent: Select[Any] | None,
    ) -> None:
        self.names: set[str] = set()
        """The names of the values."""
        table = table_of(model)
        if where is not None:
            self.where = self._renamed(rebase(and_(where), table, table))
            check_owners(self.where, table)
        if parent is not None:
            selected = parent.column_descriptions[0]["entity"]
            self.parent_name = display_name(selected)
            own = [] if names_owners(parent) else own_rows(table_of(selected))
            visible = [*not_deleted(selected), *own]
            self.has_parent = self._renamed(parent.where(*visible).exists())
            check_owners(self.has_parent)

    def bind(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of the statement's parameters. Raises TypeError for other names."""
        if values.keys() != self.names:
            needed, given = (
                ", ".join(sorted(names)) or "none" for names in (self.names, values.keys())
            )
            raise TypeError(f"Page.response needs the values of {needed}, and has {given}")
        return {_parameter(name): value for name, value in values.items()}

    @cached_property
    def scope(self) -> str:
        """The condition as text, for cursors."""
        if self.where is None:
            return ""
        compiled = self.where.compile(dialect=DIALECT)
        return f"{compiled} {sorted(compiled.params.items())}"

    @cached_property
    def parent_statement(self) -> CompiledStatement:
        """The statement that tells in `has_parent` whether there is a parent."""
        assert self.has_parent is not None
        asked = select_columns(self.has_parent.label("has_parent"))
        return CompiledStatement(asked, coalesce=True, use=Use.ROW)

    def _renamed(self, expression: ColumnElement[bool]) -> ColumnElement[bool]:
        """Return an expression whose parameters no filter of a list has."""

        def renamed(element: Any, **_: Any) -> Any:
            if not (isinstance(element, BindParameter) and element.required):
                return None
            self.names.add(element.key)
            return bindparam(_parameter(element.key), type_=element.type)

        replace: Any = replacement_traverse
        found: ColumnElement[bool] = replace(expression, {}, renamed)
        return found


def own_condition(
    model: type[Record], where: SQLColumnExpression[bool] | None, parent: Select[Any] | None
) -> OwnCondition | None:
    """Return the condition, None for a list of all records."""
    is_whole = where is None and parent is None
    return None if is_whole else OwnCondition(model, where, parent)


def _parameter(name: str) -> str:
    return f"own_{name}"
