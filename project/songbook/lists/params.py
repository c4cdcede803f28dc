"""The parser of the query string of a list."""

import codecs
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from pydantic_core import PydanticCustomError

from songbook.crud import parse_expand, parse_fields, schema_fingerprint
from songbook.errors import (
    MAX_ERRORS,
    BadCursor,
    FieldError,
    UnprocessableContent,
    did_you_mean,
    field_error,
    query_error,
)
from songbook.http import CSV, JSON, NDJSON, QueryString
from songbook.lists.cursors import decode_cursor
from songbook.lists.filters import (
    ANY_OF,
    FilterParam,
    filters_of,
    is_searchable,
    parents_in,
    sortable_fields,
)
from songbook.lists.own_conditions import OwnCondition
from songbook.models import (
    CONTAINS,
    Relation,
    Representation,
    column_types,
    not_deleted,
    parse_search,
    without_nul,
)

DEFAULT_LIMIT = 100
MAX_ROWS = 1000
MAX_VALUES = 100
MAX_PARENTS = 100
"""How many rows may be shown with their children."""
MAX_PARAMETERS = 450
MAX_WORDS = 64
"""How many words a search may have."""

WORDS, WORD_STARTS = "words", "word_starts"
_OPTIONS = {
    "count": {"exact": "with_total", "estimated": "estimated"},
    "escape": {"formulas": "escaped"},
}
"""The values of options, and what each sets."""

FORMATS = {"count": (JSON,), "escape": (CSV,), "expand": (JSON, NDJSON)}
"""The formats that have a parameter, if not all have it."""

DELETED = {"with", "only"}
PARAMETERS = ("limit", "sort", "after", "count", "escape", "fields")

_DIGITS = re.compile(r"[0-9]{1,19}")
_LIKE = re.compile(r"[%_\\]")


class Condition(NamedTuple):
    """A condition of a statement; its value is bound as `bind`."""

    field: str
    comparison: str
    bind: str
    many: bool = False
    or_null: bool = False
    parent: Relation | None = None


class SortKey(NamedTuple):
    """One field of an order, with its direction."""

    field: str
    descending: bool


@dataclass
class ListParams:
    """The parsed query string of a list; `pairs` are its parameters as they were sent."""

    records: Representation
    order: tuple[SortKey, ...]
    limit: int | None = None
    conditions: tuple[Condition, ...] = ()
    values: dict[str, Any] = field(default_factory=dict)
    cursor: str | None = None
    after: list[Any] | None = None
    """The values of the cursor, one for each key of the order."""
    with_total: bool = False
    estimated: bool = False
    """Whether the total may be an estimate."""
    escaped: bool = False
    pairs: list[tuple[str, str]] = field(default_factory=list)
    fields: tuple[str, ...] = ()
    """The members to show, in their order; none for all of them."""
    expand: tuple[Relation, ...] = ()
    deleted: str = ""
    """Which deleted rows are listed, too: none, or those of DELETED."""
    own: OwnCondition | None = None
    """The condition of the list of its own."""
    own_values: dict[str, Any] = field(default_factory=dict)

    @property
    def byte_order_mark(self) -> bytes:
        """The first bytes of an export: for spreadsheets those that say that it is UTF-8."""
        return codecs.BOM_UTF8 if self.escaped else b""

    def set_own_values(self, values: dict[str, Any]) -> None:
        """Set the values of the list's own condition. Raises BadCursor, and TypeError for others.

        Only then is the cursor read, which is valid for these values.
        """
        if self.own is None:
            if values:
                raise TypeError(f"Page.response needs no values, and has {', '.join(values)}")
            return
        self.values |= self.own.bind(values)
        self.own_values = values
        self.read_cursor()

    def read_cursor(self) -> None:
        """Set `after` to the values of the cursor. Raises BadCursor."""
        if self.cursor is None:
            return
        values = decode_cursor(self.cursor, self.cursor_scope)
        try:
            types = column_types(self.records.table)
            self.after = [
                None if value is None else types[key.field].parse(value)
                for key, value in zip(self.order, values, strict=True)
            ]
        except ValueError:  # a forged cursor
            raise BadCursor from None

    @property
    def cursor_scope(self) -> str:
        """Return the scope of a cursor: the list with its condition, its filters and its order."""
        other = {"limit", "after", "count", "sort", "escape", "fields", "expand"}
        filters = sorted(pair for pair in self.pairs if pair[0] not in other)
        table, public = self.records.table, self.records.public
        scope = [table.__tablename__, schema_fingerprint(public), self.order, filters]
        own = [self.own.scope, sorted(self.own_values.items())] if self.own else []
        return json.dumps(scope + own, default=str)

    def require_format(self, media_type: str) -> None:
        """Raise UnprocessableContent for options of another format, and for too many children."""
        counts = self.with_total or self.estimated
        are_set = {"count": counts, "escape": self.escaped, "expand": self.expand}
        errors = []
        for name, only in FORMATS.items():
            if are_set[name] and media_type not in only:
                message = f"Is only available in {' and '.join(only)} responses"
                errors.append(field_error("query", name, message, "format"))
        most = (self.limit or DEFAULT_LIMIT) if media_type == JSON else self.limit or MAX_ROWS
        if any(relation.many for relation in self.expand) and most > MAX_PARENTS:
            message = f"Should be at most {MAX_PARENTS} with children"
            errors.append(field_error("query", "limit", message, "limit"))
        if errors:
            raise UnprocessableContent(errors=errors)


def order_of(sort: str) -> tuple[SortKey, ...]:
    """Return a total order: the primary key is added, in the direction of the last field."""
    keys = [SortKey(part.removeprefix("-"), part.startswith("-")) for part in sort.split(",")]
    if "id" not in [key.field for key in keys]:
        keys.append(SortKey("id", keys[-1].descending))
    return tuple(keys)


def parse_params(
    records: Representation,
    query: QueryString,
    sort: str = "id",
    others: Collection[str] = (),
    relations: Mapping[str, Relation] = MappingProxyType({}),
    own: OwnCondition | None = None,
) -> ListParams:
    """Parse a query string; `sort` is the default order, and `others` are parameters to ignore.

    Raises UnprocessableContent with all invalid parameters; without an `own` condition BadCursor.
    """
    params = ListParams(records, order_of(sort), pairs=query.pairs, own=own)
    if not query.pairs:
        return params
    parser = _Parser(params, relations)
    for name, values in query.values.items():
        if name in others:
            continue
        try:
            parser.parse(name, values)
        except ValueError as error:
            parser.errors.append(query_error(name, error))
            if len(parser.errors) == MAX_ERRORS:
                break
    if parser.errors:
        raise UnprocessableContent(errors=parser.errors)
    if own is None:
        params.read_cursor()
    return params


class _Parser:
    """The parser of one query string."""

    def __init__(self, params: ListParams, relations: Mapping[str, Relation]) -> None:
        self.relations = relations
        self.filters = filters_of(params.records, parents_in(relations))
        self.sortable = sortable_fields(params.records)
        self.params = params
        self.errors: list[FieldError] = []

    def parse(self, name: str, values: list[str]) -> None:
        """Parse one parameter with all its values."""
        if parameter := self.filters.get(name):
            self.parse_filter(parameter, values)
        elif name not in PARAMETERS and name not in self.more:
            hint = did_you_mean(name, [*self.filters, *PARAMETERS, *self.more], len(self.errors))
            raise PydanticCustomError(
                "unknown_parameter", "Unknown parameter{hint}", {"hint": hint}
            )
        elif len(values) > 1:
            raise PydanticCustomError("repeated_parameter", "Should occur only once")
        elif name in _OPTIONS:
            known = _OPTIONS[name]
            if values[0] not in known:
                only = " or ".join(f"`{value}`" for value in known)
                raise PydanticCustomError(name, "Should be {only}", {"only": only})
            setattr(self.params, known[values[0]], True)
        else:
            getattr(self, f"parse_{name}")(values[0])

    @property
    def more(self) -> list[str]:
        """The names of the parameters that not every list has."""
        records = self.params.records
        has = {
            "q": is_searchable(records),
            "deleted": not_deleted(records.table),
            "expand": self.relations,
        }
        return [name for name, found in has.items() if found]

    def parse_filter(self, parameter: FilterParam, values: list[str]) -> None:
        """Add the condition of a filter; an empty value matches null in a nullable column."""
        repeatable = parameter.comparison in ANY_OF
        if len(values) > (MAX_VALUES if repeatable else 1):
            most = f"at most {MAX_VALUES} times" if repeatable else "only once"
            raise PydanticCustomError("too_many_values", "Should occur {most}", {"most": most})
        parsed = [parameter.parse(value) for value in values if value or not parameter.nullable]
        if parameter.comparison == CONTAINS:
            parsed = [f"%{_escape_like(parsed[0])}%"]
        bind = f"f{len(self.params.values)}"
        many, or_null = len(parsed) > 1, len(parsed) < len(values)
        field, comparison = parameter.field, parameter.comparison
        given = bind if parsed else ""
        condition = Condition(field, comparison, given, many, or_null, parameter.parent)
        self.params.conditions += (condition,)
        self.params.values[bind] = parsed if many else next(iter(parsed), None)

    def parse_limit(self, value: str) -> None:
        """Set the maximum number of rows."""
        if not (_DIGITS.fullmatch(value) and 1 <= int(value) <= MAX_ROWS):
            raise PydanticCustomError(
                "limit", "Should be an integer from 1 to {most}", {"most": MAX_ROWS}
            )
        self.params.limit = int(value)

    def parse_sort(self, value: str) -> None:
        """Set the order."""
        names = [part.removeprefix("-") for part in value.split(",")]
        if unknown := [name for name in names if name not in self.sortable]:
            hint = did_you_mean(unknown[0], self.sortable)
            raise PydanticCustomError(
                "sort", "Should be sortable fields, separated by commas{hint}", {"hint": hint}
            )
        if len(set(names)) < len(names):
            raise PydanticCustomError("sort", "Should name each field only once")
        self.params.order = order_of(value)

    def parse_deleted(self, value: str) -> None:
        """Set which deleted rows to list, if the caller lets the client see them."""
        if value not in DELETED:
            raise PydanticCustomError("deleted", "Should be `with` or `only`")
        self.params.deleted = value

    def parse_fields(self, value: str) -> None:
        """Set the members to show."""
        self.params.fields = parse_fields(value, self.params.records)

    def parse_expand(self, value: str) -> None:
        """Set the relations to show."""
        self.params.expand = parse_expand(value, self.relations)

    def parse_after(self, value: str) -> None:
        """Set the cursor, which is read when all that it is valid for is known."""
        self.params.cursor = value

    def parse_q(self, value: str) -> None:
        """Add the condition of a search; one without words matches all rows."""
        words, starts = parse_search(without_nul(value))
        number = words.count(" ") + starts.count(" ")
        if number >= MAX_WORDS - 1 and len(words.split()) + len(starts.split()) > MAX_WORDS:
            raise PydanticCustomError(
                "too_many_words", "Should have at most {most} words", {"most": MAX_WORDS}
            )
        if words or starts:
            comparison = WORD_STARTS if starts else WORDS
            self.params.conditions += (Condition("", comparison, "q"),)
            self.params.values["q"] = words
        if starts:
            self.params.values["q_starts"] = starts


def _escape_like(value: str) -> str:
    r"""Escape `%`, `_` and `\` for LIKE."""
    return _LIKE.sub(r"\\\g<0>", value)
