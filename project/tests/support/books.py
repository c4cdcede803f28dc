"""Books, orders and fields of their lists."""

from functools import partial

from songbook.models.tables import table_of
from tests.samples.resources.books import Book, BookPublic
from tests.support import listed

BOOKS = listed.rows_by("author")
SOME_BOOKS = listed.some(BOOKS)
FIELDS = listed.fields_of(BookPublic)
ORDERS = listed.orders(["name", "author", "year"]) | listed.orders([*BookPublic.model_fields])

only = partial(listed.only, BookPublic)
lay_out = partial(listed.lay_out, table_of(Book))
