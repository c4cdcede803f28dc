"""The constraints and indexes that the types and traits of a model's fields ask for."""

from typing import Any, cast

from sqlalchemy import DDL, CheckConstraint, Index, Table, UniqueConstraint, event, func
from sqlalchemy.orm import Mapper
from sqlmodel import AutoString

from songbook.models.bases import Record
from songbook.models.fields import Characters, ignores_case, kind_of, rules_of
from songbook.models.tables import living, searched_words, written_fields
from songbook.models.text_search import create_search_text

# For `create_all`; a migration says so itself.
_CREATE_SEARCH_TEXT = DDL(create_search_text().replace("%", "%%"))  # type: ignore[no-untyped-call]


@event.listens_for(Mapper, "after_mapper_constructed")
def constrain(mapper: Mapper[Any], model: type[Any]) -> None:
    """Give a new table the constraints and the indexes that its fields' types and traits ask for.

    These are the CHECK constraints, the index of the words, and for what is unique regardless of
    case or of deleted rows an index, which a constraint cannot be.
    """
    if not issubclass(model, Record):
        return
    table = cast("Table", mapper.local_table)
    for name, field in model.model_fields.items():
        for rule in rules_of(field.annotation, *field.metadata):
            if isinstance(rule, Characters):  # SQLModel does not find it in an optional field
                table.c[name].type = AutoString(rule.max_length)
            if (check := rule.check(table.c[name])) is not None:
                table.append_constraint(CheckConstraint(check, name=name))
    if any(kind_of(table.c[name]) is str for name in written_fields(model)):
        Index(f"ix_{table.name}_words", searched_words(model), postgresql_using="gin")
        event.listen(table, "before_create", _CREATE_SEARCH_TEXT)
    for constraint in [each for each in table.constraints if isinstance(each, UniqueConstraint)]:
        _make_index(constraint, model)
    for condition in living(model):
        for index in table.indexes:
            index.dialect_options["postgresql"]["where"] = condition
        due = (table.c.deleted_at, table.c.id)
        Index(f"ix_{table.name}_deleted_at", *due, postgresql_where=~condition)


def _make_index(constraint: UniqueConstraint, model: type[Record]) -> None:
    """Replace a unique constraint by a unique index where only that can hold what is meant."""
    table, names = constraint.table, [column.name for column in constraint.columns]
    infos = {name: model.model_fields[name] for name in names}
    folded = {name for name, info in infos.items() if ignores_case(info.annotation, *info.metadata)}
    if folded or living(model):
        table.constraints.discard(constraint)
        parts = [func.lower(table.c[name]) if name in folded else table.c[name] for name in names]
        Index(f"uq_{table.name}_{'_'.join(names)}", *parts, unique=True)
