"""Lists: parameters, statements, pages."""

from songbook.lists.filters import filters_of as filters_of
from songbook.lists.filters import sortable_fields as sortable_fields
from songbook.lists.openapi import DELETED_PARAMETER as DELETED_PARAMETER
from songbook.lists.pages import Page as Page
from songbook.lists.pages import lists_in as lists_in
from songbook.lists.pages import page_of as page_of
from songbook.lists.params import FORMATS as FORMATS
from songbook.lists.params import MAX_PARAMETERS as MAX_PARAMETERS
from songbook.lists.params import MAX_ROWS as MAX_ROWS
from songbook.lists.params import ListParams as ListParams
from songbook.lists.params import parse_params as parse_params
from songbook.lists.queries import json_rows as json_rows
from songbook.lists.queries import rows_response as rows_response
from songbook.lists.statements import export_query as export_query
from songbook.lists.statements import page_query as page_query
