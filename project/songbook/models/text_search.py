"""Full-text search: the vectors of texts and the queries of clients."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    String,
    TextClause,
    bindparam,
    cast,
    func,
    literal_column,
    text,
)
from sqlalchemy.dialects.postgresql import TSQUERY

# Punctuation ends a word. PostgreSQL's parser alone reads AC/DC as a path, drops <b> as a tag, and
# keeps typographic quotes, dashes and full-width punctuation as parts of words.
_PUNCTUATION = (
    "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
    "\u00a0\u00a1\u00ab\u00b7\u00bb\u00bf\u2013\u2014\u2018\u2019\u201a\u201c\u201d\u201e\u2022"
    "\u2026\u2039\u203a\u3000\u3001\u3002\u300c\u300d\u300e\u300f\u30fb\uff01\uff08\uff09\uff0c"
    "\uff0e\uff1a\uff1b\uff1f"
)
_LITERALS = [each.replace("'", "''") for each in (_PUNCTUATION, " " * len(_PUNCTUATION))]

SEARCH_TEXT = "search_text(text)"
"""The signature of the function that statements and indexes call."""

SEARCH_TEXT_BODY = f"SELECT translate($1, '{_LITERALS[0]}', '{_LITERALS[1]}')"
_CONTROLS = [*map(chr, range(1, 32)), "\x7f"]  # the parser ignores them
_TO_SPACES = str.maketrans(dict.fromkeys([*_PUNCTUATION, *_CONTROLS], " "))

# Literals, not parameters: an index serves only the identical expression.
_SIMPLE, _SPACE = text("'simple'::regconfig"), text("' '")


def create_search_text(body: str = SEARCH_TEXT_BODY) -> str:
    """Return the CREATE OR REPLACE of the function, which PostgreSQL can inline."""
    return (
        f"CREATE OR REPLACE FUNCTION {SEARCH_TEXT} RETURNS text"
        f" LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT AS $${body}$$"
    )


def search_vector(columns: Sequence[Column[Any]]) -> ColumnElement[Any]:
    """Return the tsvector of these texts: whole words in lower case, without stemming."""
    texts = [func.coalesce(each, text("''")) if each.nullable else each for each in columns]
    joined: ColumnElement[Any] = texts[0]
    for other in texts[1:]:
        joined = joined.op("||")(_SPACE).op("||")(other)
    return func.to_tsvector(_SIMPLE, func.search_text(joined))


def search_query(bind: str) -> ColumnElement[Any]:
    """Return the tsquery for all words of a bound text, those that `parse_search` returned."""
    return func.plainto_tsquery(_SIMPLE, _unique(bind, _SPACE))


def starts_query(bind: str) -> ColumnElement[Any]:
    """Return the tsquery for words that start with those of a bound text, of `parse_search`.

    It matches nothing if there are none, and is neutral in a conjunction.
    """
    starts = func.nullif(_unique(bind, text("$$':* & '$$")), text("''"))
    query = literal_column("$$'$$", String).concat(starts).concat(text("$$':*$$"))
    return func.coalesce(cast(query, TSQUERY), text("''::tsquery"))


def _unique(bind: str, separator: TextClause) -> ColumnElement[Any]:
    """Return the words of a bound text, each once: thousands of the same would take seconds."""
    words = func.to_tsvector(_SIMPLE, bindparam(bind, type_=String))
    return func.array_to_string(func.tsvector_to_array(words), separator)


def parse_search(value: str) -> tuple[str, str]:
    """Return the words of a search and the starts of words, separated as in `search_text`.

    A start is what is before an asterisk at the end of a word, as in `mid*`.
    """
    if "*" not in value:
        return value.translate(_TO_SPACES).strip(" "), ""
    words: list[str] = []
    starts: list[str] = []
    for part in value.split():
        *before, last = part.rstrip("*").translate(_TO_SPACES).split(" ")
        words += before
        (starts if part.endswith("*") else words).append(last)
    return " ".join(words).strip(" "), " ".join(starts).strip(" ")
