"""Lists as the library's own functions are asked for them."""

from functools import cache

from sqlmodel import SQLModel

from songbook.crud.records import Records
from songbook.db.statements import BoundStatement
from songbook.http.query_options import read_query_string
from songbook.lists.params import MAX_PARAMETERS, ListParams, parse_params
from songbook.lists.statements import page_query
from songbook.models.bases import Record


def params_of(
    table: type[Record], public: type[SQLModel], query: str = "", sort: str = "id"
) -> ListParams:
    """Return what a query string asks of the list of a table."""
    pairs = read_query_string(query.encode(), MAX_PARAMETERS)
    return parse_params(_records_of(table, public), pairs, sort)


@cache
def _records_of(table: type[Record], public: type[SQLModel]) -> Records:
    """Return the same each time, so that a statement is compiled once."""
    return Records(table, public)


def page_statement_of(
    table: type[Record], public: type[SQLModel], query: str = "", sort: str = "id"
) -> BoundStatement:
    """Return the statement of the page that a query string asks for."""
    params = params_of(table, public, query, sort)
    return page_query(params, with_total=params.with_total)
