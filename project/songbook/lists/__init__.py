"""A list: its parameters, its statement, its pages."""

from songbook.lists.pages import Page, page_of
from songbook.lists.params import MOST_PARAMETERS, ListParams, parse_params
from songbook.lists.queries import json_rows, rows_response
from songbook.lists.statements import export_query, page_query

__all__ = [
    "MOST_PARAMETERS",
    "ListParams",
    "Page",
    "export_query",
    "json_rows",
    "page_of",
    "page_query",
    "parse_params",
    "rows_response",
]
