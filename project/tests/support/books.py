"""Books, orders and filters of lists, and what such a list has to hold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from hypothesis import strategies as st
from sqlalchemy import delete, insert

from songbook.models.tables import table_of
from tests.samples.resources.books import Book, BookPublic

Row = dict[str, Any]


# Values that many rows share, whose order is easily got wrong, or that are a part of each other.
BOOKS = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["a", "A", "aa", "É", "é", "ß", "10", "9", "\uffff", "𝄞"]),
        "author": st.sampled_from(["x", "X"]),
        "year": st.none() | st.sampled_from([1, 2, 9999]),
    }
)


SOME_BOOKS = st.lists(BOOKS, max_size=4) | st.lists(BOOKS, min_size=5, max_size=15)


def orders(fields: Sequence[str]) -> st.SearchStrategy[list[str]]:
    """Return orders over any of the fields, each in either direction."""
    signs = st.lists(st.sampled_from(["", "-"]), min_size=len(fields), max_size=len(fields))
    lengths = st.integers(1, len(fields))
    return st.builds(
        lambda names, signs, length: [a + b for a, b in zip(signs, names, strict=True)][:length],
        st.permutations(fields),
        signs,
        lengths,
    )


FIELDS = st.just([*BookPublic.model_fields]) | st.lists(
    st.sampled_from([*BookPublic.model_fields]), min_size=1, max_size=3, unique=True
)
"""Some of the fields, in any order, or all of them."""

ORDERS = orders(["name", "author", "year"]) | orders(list(BookPublic.model_fields))


@dataclass
class Filter:
    """Parameters, and which rows they ask for."""

    parameters: list[tuple[str, str]]
    asks: Callable[[Row], bool]


FILTERS = st.one_of(
    st.just(Filter([], lambda _: True)),
    st.lists(st.sampled_from(["", "1", "2", "9999"]), min_size=1, max_size=3).map(
        lambda years: Filter(
            [("year", year) for year in years],
            lambda row: ("" if row["year"] is None else str(row["year"])) in years,
        )
    ),
    st.lists(st.sampled_from(["", "1", "2", "9999"]), min_size=1, max_size=3).map(
        lambda years: Filter(
            [("year_not", year) for year in years],
            lambda row: ("" if row["year"] is None else str(row["year"])) not in years,
        )
    ),
    st.sampled_from(["A", "a", "É", "", "1"]).map(
        lambda start: Filter([("name_starts", start)], lambda row: row["name"].startswith(start))
    ),
    st.sampled_from(["a", "1", "É", "ß"]).map(
        lambda start: Filter(
            [("q", f"{start}* x"), ("name_not", "10")],
            lambda row: row["name"].lower().startswith(start.lower()) and row["name"] != "10",
        )
    ),
    st.integers(0, 4).map(
        lambda year: Filter(
            [("year_gte", str(year))], lambda row: row["year"] is not None and row["year"] >= year
        )
    ),
    st.sampled_from(["A", "é", "%", "9"]).map(
        lambda part: Filter(
            [("name_contains", part)], lambda row: part.lower() in row["name"].lower()
        )
    ),
)


def in_order(rows: Sequence[Row], order: Sequence[str]) -> list[Row]:
    """Return rows as a list has them: nulls last when ascending, texts by code point, then ids."""

    def by(field: str) -> Callable[[Row], tuple[bool, Any]]:
        return lambda row: (row[field] is None, row[field])

    found = list(rows)
    for key in ("-id" if order[-1].startswith("-") else "id", *reversed(order)):
        found.sort(key=by(key.removeprefix("-")), reverse=key.startswith("-"))
    return found


def only(rows: Sequence[Row], fields: Sequence[str]) -> list[list[tuple[str, Any]]]:
    """Return these fields of rows in the order in which a list shows them."""
    names = [name for name in BookPublic.model_fields if name in fields]
    return [[(name, row[name]) for name in names] for row in rows]


async def lay_out(app: FastAPI, books: Sequence[Row]) -> list[Row]:
    """Make these the stored books; their ids are in no order of the table."""
    rows = [{"id": number, **book} for number, book in enumerate(books, 1)]
    async with app.state.service.database.engine.begin() as connection:
        await connection.execute(delete(table_of(Book)))
        if rows:
            await connection.execute(insert(table_of(Book)), rows[1::2] + rows[::2])
    return rows
