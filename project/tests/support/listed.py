"""Rows, orders and filters of lists of things with a name, an author and a year."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from hypothesis import strategies as st
from sqlalchemy import Table, delete, insert
from sqlmodel import SQLModel

Row = dict[str, Any]


def rows_by(author: str) -> st.SearchStrategy[Row]:
    """Return rows whose authors are in the field `author`.

    Many have the same values, or such whose order is easily got wrong, or that are a part of each
    other.
    """
    return st.fixed_dictionaries(
        {
            "name": st.sampled_from(["a", "A", "aa", "É", "é", "ß", "10", "9", "\uffff", "𝄞"]),
            author: st.sampled_from(["x", "X"]),
            "year": st.none() | st.sampled_from([1, 2, 9999]),
        }
    )


def some(rows: st.SearchStrategy[Row]) -> st.SearchStrategy[list[Row]]:
    """Return a few rows, or more."""
    return st.lists(rows, max_size=4) | st.lists(rows, min_size=5, max_size=15)


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


def fields_of(public: type[SQLModel]) -> st.SearchStrategy[list[str]]:
    """Return some of the fields, in any order, or all of them."""
    names = [*public.model_fields]
    return st.just(names) | st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True)


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


def only(
    public: type[SQLModel], rows: Sequence[Row], fields: Sequence[str]
) -> list[list[tuple[str, Any]]]:
    """Return these fields of rows in the order in which a list shows them."""
    names = [name for name in public.model_fields if name in fields]
    return [[(name, row[name]) for name in names] for row in rows]


async def lay_out(table: Table, app: FastAPI, rows: Sequence[Row]) -> list[Row]:
    """Make these the stored rows; their ids are in no order of the table."""
    numbered = [{"id": number, **row} for number, row in enumerate(rows, 1)]
    async with app.state.service.database.engine.begin() as connection:
        await connection.execute(delete(table))
        if numbered:
            await connection.execute(insert(table), numbered[1::2] + numbered[::2])
    return numbered
