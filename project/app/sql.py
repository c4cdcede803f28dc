"""A statement as it goes to the driver."""

from typing import Any, NamedTuple


class Query(NamedTuple):
    """A statement and its arguments, in the order of its parameters.

    A `shared` one only reads: one run of it answers all who ask the same at that time. `together`
    is for those who ask it with other arguments, too: it has an array of texts where this one has
    its only argument, and each of its rows ends with the one that it belongs to.
    """

    sql: str
    arguments: list[Any]
    shared: bool = False
    together: str = ""


NOTHING = Query("", [])  # what is known to have no row: it takes no connection
