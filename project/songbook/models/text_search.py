"""Words: what PostgreSQL's text search sees of a text, and of a question about it."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, String, bindparam, func, text

# These marks end a word. PostgreSQL's parser alone takes AC/DC for a file's path, drops <b> as a
# tag, and keeps the quotes of the typographers, dashes and full-width marks as parts of words.
_PUNCTUATION = (
    "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
    "\u00a0\u00a1\u00ab\u00b7\u00bb\u00bf\u2013\u2014\u2018\u2019\u201a\u201c\u201d\u201e\u2022"
    "\u2026\u2039\u203a\u3000\u3001\u3002\u300c\u300d\u300e\u300f\u30fb\uff01\uff08\uff09\uff0c"
    "\uff0e\uff1a\uff1b\uff1f"
)
_LITERALS = [each.replace("'", "''") for each in (_PUNCTUATION, " " * len(_PUNCTUATION))]

SEARCH_TEXT = "search_text(text)"
"""The function that statements and indexes call, as DROP FUNCTION names it."""

SEARCH_TEXT_BODY = f"SELECT translate($1, '{_LITERALS[0]}', '{_LITERALS[1]}')"
_CONTROLS = [*map(chr, range(1, 32)), "\x7f"]  # they are no words to the parser
_TO_SPACES = str.maketrans(dict.fromkeys([*_PUNCTUATION, *_CONTROLS], " "))

# Parts of the statements, not parameters: an index serves only the very same expression.
_SIMPLE, _SPACE = text("'simple'::regconfig"), text("' '")


def create_search_text(body: str = SEARCH_TEXT_BODY) -> str:
    """Return the statement that creates the function or replaces it.

    PostgreSQL inlines a function like this one: a row costs no call.
    """
    return (
        f"CREATE OR REPLACE FUNCTION {SEARCH_TEXT} RETURNS text"
        f" LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT AS $${body}$$"
    )


def search_vector(columns: Sequence[Column[Any]]) -> ColumnElement[Any]:
    """Return the words of these texts, whole, in lower case, without a language's rules.

    https://www.postgresql.org/docs/18/textsearch-controls.html
    """
    present = [func.coalesce(each, text("''")) if each.nullable else each for each in columns]
    joined: ColumnElement[Any] = present[0]
    for other in present[1:]:
        joined = joined.op("||")(_SPACE).op("||")(other)
    return func.to_tsvector(_SIMPLE, func.search_text(joined))


def search_query(bind: str) -> ColumnElement[Any]:
    """Return the question whether all words of the bound text occur; give it `separated` words.

    Each is asked for once: the same word ten thousand times over would take seconds.
    """
    words = func.to_tsvector(_SIMPLE, bindparam(bind, type_=String))
    each_once = func.array_to_string(func.tsvector_to_array(words), _SPACE)
    return func.plainto_tsquery(_SIMPLE, each_once)


def normalize_search(question: str) -> str:
    """Return the words of a question, separated as `search_text` separates those of a text."""
    return question.translate(_TO_SPACES).strip(" ")
