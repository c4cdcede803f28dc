"""The statements of pages (keyset pagination) and exports."""

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import (
    CTE,
    BigInteger,
    BindParameter,
    ColumnElement,
    Integer,
    Numeric,
    Select,
    String,
    Subquery,
    Table,
    Text,
    all_,
    any_,
    bindparam,
    case,
    cast,
    exists,
    func,
    literal_column,
    or_,
    select,
    text,
    tuple_,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY, array
from sqlalchemy.sql.selectable import NamedFromClause
from sqlalchemy.types import TypeEngine
from sqlmodel import AutoString

from songbook.db import (
    MAX_STATEMENTS,
    BoundStatement,
    CompiledStatement,
    json_columns,
    related,
    row_to_json,
)
from songbook.http import CSV
from songbook.lists.own_conditions import OwnCondition
from songbook.lists.page_bytes import MAX_PAGE_BYTES, first_rows, max_row_bytes
from songbook.lists.params import DEFAULT_LIMIT, WORD_STARTS, WORDS, Condition, ListParams, SortKey
from songbook.models import (
    CONTAINS,
    HAS,
    NOT,
    STARTS,
    Record,
    Relation,
    Representation,
    living,
    not_deleted,
    rebase,
    search_query,
    searched_words,
    starts_query,
    table_of,
)

SQL_SEPARATOR = "E',\\n'"

_TEXTS = (String, AutoString)
# https://owasp.org/www-community/attacks/CSV_Injection, with the full-width forms
_FORMULA = "^[-=+@\t\r\uff0d\uff1d\uff0b\uff20]"


class PageShape(NamedTuple):
    """What the SQL of a page depends on; `after` tells which values of the cursor are not null."""

    conditions: tuple[Condition, ...]
    order: tuple[SortKey, ...]
    after: tuple[bool, ...] | None
    with_total: bool
    fields: tuple[str, ...]
    """The members to show, none for all of them."""

    expand: tuple[Relation, ...]
    bounded: bool
    """Whether the rows may exceed MAX_PAGE_BYTES."""

    own: OwnCondition | None

    deleted: str
    """Which deleted rows are listed: none, `with` or `only`."""


class ExportFormat(NamedTuple):
    """The format of an export: values or objects, formulas escaped or not, limited or not."""

    as_values: bool
    escaped: bool
    limited: bool


def page_query(params: ListParams, *, with_total: bool) -> BoundStatement:
    """Return the statement of a page: its rows as one `document`, their `number`, and the `total`.

    With `hidden_keys` of the order, `keys` is a JSON array of their values in the last row before
    the next page; if `is_bounded` the values in all rows.

    If the list needs a parent, `has_parent` tells whether there is one.

    If there is a next page, the first row of it is included, and the `document` is too long for
    `cut` or the `number` exceeds the limit.
    """
    shape = _shape(params, with_total=with_total, bounded=is_bounded(params))
    rows = (params.limit or DEFAULT_LIMIT) + 1
    return page_statement(params.records, shape).bind({**_values(params), "rows": rows})


def is_bounded(params: ListParams) -> bool:
    """Return whether the rows of a page may exceed MAX_PAGE_BYTES."""
    rows = (params.limit or DEFAULT_LIMIT) + 1
    return rows * max_row_bytes(params.records, params.expand, params.fields) > MAX_PAGE_BYTES


def rows_query(params: ListParams) -> BoundStatement:
    """Return the statement of all rows of a list, without their order, for an estimate."""
    shape = _shape(params, with_total=False, bounded=False)._replace(after=None)
    return _rows_statement(params.records, shape).bind(params.values)


def export_query(params: ListParams, media_type: str) -> BoundStatement:
    """Return the statement of an export, for COPY."""
    export_format = ExportFormat(media_type == CSV, params.escaped, params.limit is not None)
    shape = _shape(params, with_total=False, bounded=False)
    statement = export_statement(params.records, shape, export_format)
    return statement.bind({**_values(params), "rows": params.limit})


def _shape(params: ListParams, *, with_total: bool, bounded: bool) -> PageShape:
    after = None if params.after is None else tuple(value is not None for value in params.after)
    return PageShape(
        params.conditions,
        params.order,
        after,
        with_total,
        params.fields,
        params.expand,
        bounded,
        params.own,
        params.deleted,
    )


def _values(params: ListParams) -> dict[str, Any]:
    after = {f"k{nth}": value for nth, value in enumerate(params.after or ())}
    return {**after, **params.values}


@lru_cache(MAX_STATEMENTS)
def page_statement(records: Representation, shape: PageShape) -> CompiledStatement:
    """Compile the statement of `page_query`."""
    rows = _rows(records, shape, bindparam("rows", type_=BigInteger))
    if shape.bounded:
        rows = first_rows(rows, shape.fields or records.members, "_shown")
    hidden = hidden_keys(records, shape.order, shape.fields)
    shown = _as_json(records, shape, rows, lateral=bool(hidden))
    row = row_to_json(shown)
    line = _without_line_ends(row) if _has_line_ends(records, shape) else row
    document = func.string_agg(line, literal_column(SQL_SEPARATOR))
    columns: list[ColumnElement[Any]] = [document.label("document"), func.count().label("number")]
    if hidden:
        columns.append(_keys([rows.c[name] for name in hidden], shape))
    if shape.with_total:
        counted = select(func.count()).select_from(table_of(records.table))
        total = counted.where(*_where(records, shape)).scalar_subquery()
        columns.append(total.label("total"))
    if shape.own and shape.own.has_parent is not None:
        columns.append(shape.own.has_parent.label("has_parent"))
    sources = (rows, shown) if hidden else (shown,)
    return CompiledStatement(select(*columns).select_from(*sources), coalesce=True)


def _keys(columns: Iterable[ColumnElement[Any]], shape: PageShape) -> ColumnElement[str]:
    """Return the JSON of the values of the last row but one, or of all where the page is cut."""
    values: list[ColumnElement[Any]] = [func.array_agg(column) for column in columns]
    if not shape.bounded:
        values = [each[cast(func.count() - literal_column("1"), Integer)] for each in values]
    return cast(func.json_build_array(*values), Text).label("keys")


@lru_cache(MAX_STATEMENTS)
def _rows_statement(records: Representation, shape: PageShape) -> CompiledStatement:
    """Compile the statement of `rows_query`."""
    table = table_of(records.table)
    return CompiledStatement(select(table.c.id).where(*_where(records, shape)), coalesce=True)


@lru_cache(MAX_STATEMENTS)
def hidden_keys(
    records: Representation, order: tuple[SortKey, ...], fields: tuple[str, ...]
) -> tuple[str, ...]:
    """Return the keys of an order that the rows do not show, for the cursor."""
    return tuple(key.field for key in order if key.field not in (fields or records.members))


@lru_cache(MAX_STATEMENTS)
def export_statement(
    records: Representation, shape: PageShape, export_format: ExportFormat
) -> CompiledStatement:
    """Compile the statement of `export_query`."""
    rows = bindparam("rows", type_=BigInteger) if export_format.limited else None
    shown = _rows(records, shape, rows)
    if not export_format.as_values:
        # without the cast of `row_to_json`, which would cost a third of the time
        objects = _as_json(records, shape, shown)
        json: ColumnElement[Any] = func.row_to_json(objects.table_valued())
        if _has_line_ends(records, shape):
            json = _without_line_ends(row_to_json(objects))
        return CompiledStatement(select(json).select_from(objects))
    cells = (_csv_cell(shown.c[name], export_format) for name in shape.fields or records.members)
    return CompiledStatement(select(*cells))


def _has_line_ends(records: Representation, shape: PageShape) -> bool:
    """Return whether a member that is shown may be JSON with line ends, as `json_agg` writes it."""
    shown = (records, *(relation.shown for relation in shape.expand))
    return any(each.has_computed_json for each in shown)


def _without_line_ends(row: ColumnElement[str]) -> ColumnElement[str]:
    """Return the JSON of a row in one line: within strings JSON has no line ends."""
    return func.translate(row, literal_column("E'\\n\\r'"), literal_column("''"))


def _csv_cell(column: ColumnElement[Any], export_format: ExportFormat) -> ColumnElement[Any]:
    """Return a column as in JSON, but without the quotes of strings."""
    is_text, is_integer = (isinstance(column.type, kind) for kind in (_TEXTS, Integer))
    as_json = func.to_json(column)
    cell = column if is_text or is_integer else as_json.op("#>>")(text("'{}'"))
    if is_integer or not export_format.escaped:
        return cell.label(column.name)
    is_formula = cell.regexp_match(_FORMULA)
    if not is_text:  # a computed text may have no type that SQLAlchemy knows
        is_formula &= func.json_typeof(as_json) == text("'string'")
    escaped = literal_column("''''").concat(cell)
    return case((is_formula, escaped), else_=cell).label(column.name)


def _where(records: Representation, shape: PageShape) -> list[ColumnElement[bool]]:
    model = records.table
    own = [] if shape.own is None or shape.own.where is None else [shape.own.where]
    conditions = [_condition(model, condition) for condition in shape.conditions]
    present = [] if shape.deleted == "with" else not_deleted(model)
    if shape.deleted == "only":
        present = [~condition for condition in present]
    return [*present, *records.readable_rows(table_of(model)), *own, *conditions]


def _rows(records: Representation, shape: PageShape, rows: BindParameter[int] | None) -> Subquery:
    """Return the subquery of at most `rows` rows, in their order."""
    table = table_of(records.table)
    where, columns = _where(records, shape), records.columns(table, shape.fields)
    keys = {"id" if relation.many else relation.field for relation in shape.expand}
    keys |= {key.field for key in shape.order}
    columns += [table.c[name] for name in sorted(keys - {*(shape.fields or records.members)})]
    order = [_ordered(table.c[key.field], key) for key in shape.order]
    ranges = [[]] if shape.after is None else list(_keyset_ranges(table, shape.order, shape.after))
    branches = [
        select(*columns).where(*where, *after).order_by(*order).limit(rows)
        for after in ranges or [[literal_column("false")]]
    ]
    if len(branches) == 1:
        return branches[0].subquery("_shown")
    union = _until_full(branches, rows)
    outer = [_ordered(union.c[key.field], key) for key in shape.order]
    return select(union).order_by(*outer).limit(rows).subquery("_shown")


def _as_json(
    records: Representation, shape: PageShape, rows: Subquery, *, lateral: bool = False
) -> NamedFromClause:
    """Return rows as JSON shows them, after they were ordered as they are.

    With `lateral` it is to be joined with the rows, which have keys that they do not show.
    """
    members = shape.fields or records.members
    columns = [rows.c[name] for name in members]
    is_same = len(columns) == len(rows.c)
    if is_same and not (shape.expand or any(isinstance(each.type, Numeric) for each in columns)):
        return rows
    shown = select(*json_columns(columns), *(related(each, rows) for each in shape.expand))
    return shown.correlate(rows).lateral("_as_json") if lateral else shown.subquery("_as_json")


def _until_full(branches: list[Select[Any]], rows: BindParameter[int] | None) -> CTE:
    """Return the rows of the branches, the nearest first; those after the page are not executed.

    Merging them takes the first row of each, and PostgreSQL may have to sort many rows to find it.
    """
    union = branches[0].cte("nearest")
    for nth, branch in enumerate(branches[1:], 1):
        number = select(func.count()).select_from(union).scalar_subquery()
        is_reached = [] if rows is None else [number < rows]
        union = union_all(select(union), branch.where(*is_reached)).cte(f"nearest_{nth}")
    return union


def _ordered(column: ColumnElement[Any], key: SortKey) -> ColumnElement[Any]:
    return column.desc() if key.descending else column.asc()


def _condition(model: type[Record], condition: Condition) -> ColumnElement[bool]:
    """Return the expression of a condition."""
    if condition.comparison in {WORDS, WORD_STARTS}:
        return searched_words(model).op("@@")(_search(condition))
    if condition.parent:
        return _parent_condition(model, condition, condition.parent)
    column = table_of(model).c[condition.field]
    if not condition.bind:
        return column.is_not(None) if condition.comparison == NOT else column.is_(None)
    if condition.comparison == HAS:
        # asyncpg's dialect binds texts as VARCHAR, whose arrays cannot be compared with TEXT[]
        items = cast(array([bindparam(condition.bind, type_=Text)]), ARRAY(Text))
        return column.contains(items)
    kind = _compared_type(column)
    value = bindparam(condition.bind, type_=ARRAY(kind) if condition.many else kind)
    comparisons: dict[str, Callable[[], ColumnElement[bool]]] = {
        "": lambda: column == (any_(value) if condition.many else value),
        NOT: lambda: column != (all_(value) if condition.many else value),
        CONTAINS: lambda: column.ilike(value),
        STARTS: lambda: column.op("^@", is_comparison=True)(value),
        "_gt": lambda: column > value,
        "_gte": lambda: column >= value,
        "_lt": lambda: column < value,
        "_lte": lambda: column <= value,
    }
    compared = comparisons[condition.comparison]()
    with_null = condition.or_null
    if condition.comparison == NOT:  # null is no other value, unless it is excluded, too
        with_null = bool(column.nullable) and not condition.or_null
    return or_(compared, column.is_(None)) if with_null else compared


def _search(condition: Condition) -> ColumnElement[Any]:
    words = search_query(condition.bind)
    if condition.comparison == WORDS:
        return words
    return words.op("&&")(starts_query(f"{condition.bind}_starts"))


def _parent_condition(
    model: type[Record], condition: Condition, relation: Relation
) -> ColumnElement[bool]:
    """Return the condition that a row has a parent for which a condition holds."""
    parent = table_of(relation.shown.table)
    other = parent.alias()
    holds = rebase(_condition(relation.shown.table, condition._replace(parent=None)), parent, other)
    key = other.c.id == table_of(model).c[relation.field]
    return exists().where(key, holds, *living(other), *relation.shown.readable_rows(other))


def _compared_type(column: ColumnElement[Any]) -> TypeEngine[Any]:
    """Return the type of a value to compare: in the column's own it would be cut or rounded."""
    if isinstance(column.type, Numeric):
        return Numeric()
    return String() if isinstance(column.type, String | AutoString) else column.type


def _keyset_ranges(
    table: Table, order: tuple[SortKey, ...], after: tuple[bool, ...], start: int = 0
) -> Iterator[list[ColumnElement[bool]]]:
    """Yield the conditions of the index ranges after the cursor, the nearest first.

    With a single condition with OR, PostgreSQL would read all rows before the page. NULLs sort last
    in ascending and first in descending order.
    """
    if start == len(order):
        return
    first, descending = table.c[order[start].field], order[start].descending
    run = list(_same_direction(table, order, after, start))
    columns = [table.c[order[nth].field] for nth in run]
    values = [bindparam(f"k{nth}", type_=table.c[order[nth].field].type) for nth in run]
    same = [column == value for column, value in zip(columns, values, strict=True)]
    for nearer in _keyset_ranges(table, order, after, start + (len(run) or 1)):
        yield [*(same or [first.is_(None)]), *nearer]
    if run:
        row, cursor = tuple_(*columns), tuple_(*values)
        yield [row < cursor if descending else row > cursor]
    if run and first.nullable and not descending:
        yield [first.is_(None)]
    elif not run and descending:
        yield [first.is_not(None)]


def _same_direction(
    table: Table, order: tuple[SortKey, ...], after: tuple[bool, ...], start: int
) -> Iterator[int]:
    """Yield the keys from `start` on that one row comparison covers: not null, one direction.

    One whose NULLs come last begins a row comparison of its own: they lie between its rows.
    """
    descending = order[start].descending
    for nth in range(start, len(order)):
        nulls_last = table.c[order[nth].field].nullable and not descending
        if not after[nth] or order[nth].descending != descending or (nulls_last and nth > start):
            return
        yield nth
