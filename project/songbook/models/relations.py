"""Relations between resources: what lists and records can be expanded with."""

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any, NamedTuple

from songbook.models.bases import Record, display_name
from songbook.models.representations import Representation
from songbook.models.tables import table_of


class Listed(NamedTuple):
    """A resource with a list: its path, what it shows, and who may read it."""

    path: str
    shown: Representation
    readers: object
    """The permission of the list, None if everyone may read it."""
    is_partial: bool = False
    """Whether the list has a condition of its own: another resource is not shown by it."""

    @property
    def name(self) -> str:
        """Return the last segment of the path."""
        return self.path.rpartition("/")[2]


class Relation(NamedTuple):
    """A related resource: its parent by a foreign key `field`, or with `many` its children."""

    name: str
    field: str
    shown: Representation
    many: bool
    readers: object
    """The permission of the list of the related resource, None if everyone may read it."""


class Relations:
    """The relations between the resources of a service."""

    def __init__(self, resources: Iterable[Listed] = ()) -> None:
        self._resources: dict[type[Record], Listed] = {}
        for each in sorted(resources, key=lambda listed: listed.is_partial):
            self._resources.setdefault(each.shown.table, each)

    @property
    def resources(self) -> list[Listed]:
        """The resources by their names, each once."""
        return sorted(self._resources.values(), key=lambda listed: listed.name)

    def of(self, table: type[Record], includes: Callable[[object], bool]) -> dict[str, Relation]:
        """Return the relations of a resource by name: its parents, and then its children.

        They are those of whose `readers` this is true: a route shows only what its callers may
        read elsewhere.
        """
        relations = self._relations.get(table, {})
        return {
            name: relation for name, relation in relations.items() if includes(relation.readers)
        }

    def is_referred_to(self, path: str) -> bool:
        """Return whether foreign keys keep records of the resource with this path from deletion."""
        return any(
            key.column.table is table_of(own.shown.table)
            for own in self._resources.values()
            if own.path == path
            for other in table_of(own.shown.table).metadata.tables.values()
            for key in other.foreign_keys
            if "deleted_at" in key.column.table.c or key.ondelete not in {"CASCADE", "SET NULL"}
        )

    @cached_property
    def _relations(self) -> dict[type[Record], dict[str, Relation]]:
        return {
            table: {
                relation.name: relation
                for relation in (*self._parents(own), *self._children(own))
                if relation.name not in own.shown.public.model_fields
            }
            for table, own in self._resources.items()
        }

    def _parents(self, own: Listed) -> Iterator[Relation]:
        tables = {table_of(table): listed for table, listed in self._resources.items()}
        for field, referred in _references(own.shown):
            parent = tables.get(referred)
            if parent and not parent.is_partial and field.endswith("_id"):
                name = field.removesuffix("_id")
                yield Relation(name, field, parent.shown, many=False, readers=parent.readers)

    def _children(self, own: Listed) -> Iterator[Relation]:
        """Yield the children by the reference that is called after the parent."""
        field = f"{display_name(own.shown.table).lower().replace(' ', '_')}_id"
        for child in self._resources.values():
            references = [] if child.is_partial else _references(child.shown)
            if (field, table_of(own.shown.table)) in references:
                yield Relation(child.name, field, child.shown, many=True, readers=child.readers)


def _references(shown: Representation) -> list[tuple[str, Any]]:
    """Return the foreign keys that a resource shows, each with the table that it refers to."""
    return [
        (column.name, key.column.table)
        for column in table_of(shown.table).c
        for key in column.foreign_keys
        if key.column.name == "id" and column.name in shown.public.model_fields
    ]
