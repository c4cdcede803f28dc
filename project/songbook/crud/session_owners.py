"""The rows of owned tables in SQLAlchemy sessions.

A session reads and changes the rows of its principal, and gives new rows their owner. A statement
of an owned table raises RuntimeError without a principal, and where SQLAlchemy cannot narrow it
because it names tables, not classes. What a session does without `exec` or a flush is not looked
at: SQL as a text, `session.connection()`, and the `bulk_…` methods.
"""

from collections.abc import Collection
from typing import Any

from sqlalchemy import event, inspect, select
from sqlalchemy.orm import ORMExecuteState, with_loader_criteria
from sqlmodel import Session

from songbook.db import Principal, require_principal
from songbook.errors import NO_SUCH_RECORD, Conflict, NotFound, field_error
from songbook.models import (
    Owned,
    check_statement,
    display_name,
    is_owned_by,
    mapped_classes,
    parts_of,
)


class OwnedSession(Session):
    """A session of a principal."""

    def __init__(self, principal: Principal | None, **options: Any) -> None:
        super().__init__(**options)
        self.principal = principal


@event.listens_for(OwnedSession, "do_orm_execute")
def _narrow(state: ORMExecuteState) -> None:
    """Add the condition on the owner to a statement of owned tables."""
    assert isinstance(state.session, OwnedSession)
    owned = _owned_classes(state)
    if not owned:
        return
    principal = require_principal(state.session.principal)
    if principal.is_superuser:
        return
    if not state.is_orm_statement:
        raise RuntimeError(f"select the class {owned[0].__name__}, whose rows have owners")
    if state.is_insert or (state.is_update and isinstance(state.parameters, list)):
        name = owned[0].__name__
        raise RuntimeError(f"add or change objects of the class {name}, whose rows have owners")
    id_ = principal.id
    state.statement = state.statement.options(
        *(
            # a lambda, since an expression is not moved to an alias in a JOIN
            with_loader_criteria(
                each, lambda model: is_owned_by(model.owner_id, id_), include_aliases=True
            )
            for each in owned
        )
    )
    if not state.is_relationship_load:
        narrowed: Any = state.statement
        check_statement(narrowed)


@event.listens_for(OwnedSession, "before_flush")
def _own(session: OwnedSession, *_: Any) -> None:
    """Give new rows their owner. Raises NotFound for one with an id, as `merge` makes them.

    PostgreSQL gives the ids: one that the session did not find is of nobody, or of another owner,
    and a conflict would tell which.
    """
    for row in session.new:
        if isinstance(row, Owned) and row.id is not None:  # type: ignore[attr-defined]
            raise NotFound(f"{display_name(type(row))} not found")
        if isinstance(row, Owned) and not row.owner_id:
            id_ = require_principal(session.principal).id
            assert id_, "the principal of a session is a user"
            row.owner_id = id_


@event.listens_for(OwnedSession, "before_flush")
def _refer(session: OwnedSession, *_: Any) -> None:
    """Look for the parents of new and changed rows. Raises Conflict for one of another owner."""
    for row in [*session.new, *session.dirty]:
        for column in inspect(type(row)).columns:
            changed = inspect(row).attrs[column.key].history.added
            for parent in _owned_parents(column) if changed and changed[0] is not None else ():
                with session.no_autoflush:
                    found = session.scalar(select(parent.id).where(parent.id == changed[0]))
                if found is None:
                    error = field_error("body", column.key, NO_SUCH_RECORD, "foreign_key")
                    raise Conflict(errors=[error])


def _owned_parents(column: Any) -> list[Any]:
    """Return the class of the owned table that a column refers to, if it does."""
    return _owned_among({key.column.table for key in column.foreign_keys})


def _owned_classes(state: ORMExecuteState) -> list[Any]:
    """Return the classes of the owned tables in a statement."""
    statement: Any = state.statement
    return _owned_among({*parts_of(statement)})


def _owned_among(tables: Collection[Any]) -> list[Any]:
    owned: list[Any] = [each for each in mapped_classes() if issubclass(each, Owned)]
    return [each for each in owned if each.__table__ in tables]
