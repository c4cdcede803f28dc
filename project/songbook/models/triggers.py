"""Triggers: what PostgreSQL does with a change of a row by any writer."""

from collections.abc import Iterator
from typing import Any, cast

from sqlalchemy import DDL, Connection, ForeignKey, Table, event
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapper

from songbook.models.bases import Record, Timestamps, stored_name

TRIGGER_FUNCTIONS = {
    # A better hash of the same password, which a login stores, is no change to clients.
    "next_version()": (
        "BEGIN IF current_setting('songbook.rehash', true) = 'on' THEN RETURN NEW; END IF;"
        " NEW.version := OLD.version + 1;"
        " IF TG_NARGS > 0 THEN NEW.updated_at := clock_timestamp(); END IF;"
        " RETURN NEW; END"
    ),
    # FOR KEY SHARE waits for the FOR UPDATE of a deletion, and sees what it did.
    "check_parent()": (
        "DECLARE parent bigint := to_jsonb(NEW) ->> TG_ARGV[0]; living boolean;"
        " BEGIN IF parent IS NULL OR to_jsonb(NEW) ->> 'deleted_at' IS NOT NULL"
        " OR (parent = NEW.id AND TG_ARGV[1] = TG_TABLE_NAME) THEN RETURN NEW; END IF;"
        " EXECUTE format('SELECT true FROM %I.%I WHERE id = $1 AND deleted_at IS NULL"
        " FOR KEY SHARE', TG_TABLE_SCHEMA, TG_ARGV[1]) INTO living USING parent;"
        " IF living IS NULL THEN RAISE foreign_key_violation USING"
        " MESSAGE = 'the parent does not exist', TABLE = TG_TABLE_NAME, CONSTRAINT = TG_ARGV[2];"
        " END IF; RETURN NEW; END"
    ),
    "check_children()": (
        "DECLARE child boolean;"
        " BEGIN EXECUTE format('SELECT true FROM %I.%I WHERE id = $1 FOR UPDATE',"
        " TG_TABLE_SCHEMA, TG_TABLE_NAME) USING OLD.id;"
        " EXECUTE format('SELECT true FROM %I.%I AS child WHERE %I = $1 AND to_jsonb(child) ->>"
        " ''deleted_at'' IS NULL AND NOT ($2 AND id = $1) LIMIT 1',"
        " TG_TABLE_SCHEMA, TG_ARGV[0], TG_ARGV[1])"
        " INTO child USING OLD.id, TG_ARGV[0] = TG_TABLE_NAME;"
        " IF child THEN RAISE restrict_violation USING"
        " MESSAGE = 'there are children', TABLE = TG_ARGV[0], CONSTRAINT = TG_ARGV[2];"
        " END IF; RETURN NEW; END"
    ),
}
"""The bodies of the functions that triggers call, by their signatures.

`next_version` increments the version of a row that an UPDATE changes without doing so. The others
keep soft-deleted records without living children, as foreign keys do with deleted ones.
"""

_RECORDS: dict[Table, bool] = {}
"""The tables of Records, and whether they have Timestamps."""

_PREPARER = postgresql.dialect().identifier_preparer  # type: ignore[no-untyped-call]


def create_function(signature: str, body: str | None = None) -> str:
    """Return the CREATE OR REPLACE of a function of a trigger."""
    code = TRIGGER_FUNCTIONS[signature] if body is None else body
    language = "RETURNS trigger LANGUAGE plpgsql"
    return f"CREATE OR REPLACE FUNCTION {signature} {language} AS $${code}$$"


def triggers_of(table: Table) -> dict[str, str]:
    """Return the CREATE TRIGGER of each trigger of a table by name, as PostgreSQL spells them."""
    if table not in _RECORDS:
        return {}
    # the service's own statements set the version, and pay for a comparison only
    triggers = {
        "next_version": f"BEFORE UPDATE ON {_quoted(table.name)} FOR EACH ROW"
        " WHEN (old.version = new.version)"
        f" EXECUTE FUNCTION next_version({_quoted_texts(*['updated_at'] * _RECORDS[table])})"
    }
    for name, key in _soft_references(table):
        columns = [key.parent.name, *(["deleted_at"] if "deleted_at" in table.c else [])]
        triggers[stored_name(f"check_parent_{name}")] = (
            f"BEFORE INSERT OR UPDATE OF {', '.join(map(_quoted, columns))}"
            f" ON {_quoted(table.name)} FOR EACH ROW EXECUTE FUNCTION"
            f" check_parent({_quoted_texts(key.parent.name, key.column.table.name, name)})"
        )
    for child in table.metadata.tables.values() if "deleted_at" in table.c else ():
        for name, key in _soft_references(child):
            if key.column.table is table:
                triggers[stored_name(f"check_children_{name}")] = (
                    f"BEFORE UPDATE OF deleted_at ON {_quoted(table.name)} FOR EACH ROW"
                    " WHEN (old.deleted_at IS NULL AND new.deleted_at IS NOT NULL)"
                    " EXECUTE FUNCTION"
                    f" check_children({_quoted_texts(child.name, key.parent.name, name)})"
                )
    return {name: f"CREATE TRIGGER {_quoted(name)} {rest}" for name, rest in triggers.items()}


def _soft_references(table: Table) -> Iterator[tuple[str, ForeignKey]]:
    """Yield the foreign keys to tables with soft deletion, with their names."""
    for constraint in table.foreign_key_constraints:
        [*keys] = constraint.elements
        if len(keys) == 1 and "deleted_at" in keys[0].column.table.c:
            yield stored_name(str(constraint.name)), keys[0]


def _quoted(name: str) -> str:
    return str(_PREPARER.quote(name))


def _quoted_texts(*texts: str) -> str:
    return ", ".join(f"'{text}'" for text in texts)


@event.listens_for(Mapper, "after_mapper_constructed")
def _add_triggers(mapper: Mapper[Any], model: type[Any]) -> None:
    """Let `create_all` create the triggers of a Record and their functions, as revisions do."""
    if issubclass(model, Record):
        table = cast("Table", mapper.local_table)
        _RECORDS[table] = Timestamps in model.__mro__
        event.listen(table, "after_create", _create_triggers)


def _create_triggers(table: Table, connection: Connection, **_: Any) -> None:
    functions = map(create_function, TRIGGER_FUNCTIONS)
    for statement in (*functions, *triggers_of(table).values()):
        connection.execute(DDL(statement.replace("%", "%%")))  # type: ignore[no-untyped-call]
