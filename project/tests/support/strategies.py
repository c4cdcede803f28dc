"""Strategies: all that a field, a body or a row of a resource may hold."""

from functools import partial
from typing import Any

from hypothesis import strategies as st
from pydantic import TypeAdapter

from songbook.models.fields import NO_NUL, Text, ignores_case
from songbook.models.tables import table_of
from tests.support.resources import RESOURCES, Resource

# What every encoder, escaper and column has to get right.
AWKWARD = [
    '",\n"',
    "},\n{",
    "a\r\nb\tc\x1f\x7f\x85\u2028\u2029d",
    "<script>alert(1)</script> &amp; \\u0000 \\ / %s ${x} {{7*7}} ' OR 1=1--",
    "\u202eright to left\u202c אב\u200dג",
    "e\u0301 é 👩\u200d👩\u200d👧 🏴\U000e0067\U000e007f \ufeff \ufffd \uffff \U0010ffff",
    "𝄞" * 255,
]


CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")


# Texts that break where somebody escapes, counts, cuts, normalises or trims in another way.
NAUGHTY = [
    "a", "0", "null", "None", "true", "-1", "1/0", "NaN", "{}", "[]", '"', "'", "\\", "\\\\", "\\n",
    "/", "//", "\\u0000", "%00", "%s%n%x", "$1", "${jndi:ldap://x}", "{{7*7}}", "{0}", "a\tb",
    "a\nb", "a\r\nb", "a  b", "a\x01b", "a\x1fb", "a\x7fb", "a\x85b", "' OR 1=1--",
    "'; DROP TABLE x", "<script>alert(1)</script>", "<!--", "&amp;", "&#0;", "]]>",
    "../../etc/passwd", "C:\\NUL", "É", "E\u0301", "\u212b", "\ufb01", "ß", "\u0131", "İ", "\u017f",
    "Ω", "عربى", "\u202eabc\u202c", "\u2066x", "日本語", "한국어", "ไทย", "a\u0300\u0316\u0323",
    "\u0301", "\U0001f469\u200d\U0001f467", "\U0001f3f4\U000e0067\U000e007f", "\U0001f3ff",
    "\U0001d4b3", "\U0010ffff", "\uffff", "\ufeff", "a\ufeff", "\u200b", "a\u2028b", "a\u2029b",
    "\u00ad", "\ue000", "\ufffd", "\ufffe", "1\u00a0000", "١٢٣", "\uff11", "½", "e\u0301" * 100,
    "😀" * 255, "x" * 255, "\\" * 255, '"' * 255, "\x01" * 255,
]  # fmt: skip


FREE_PATTERNS = {NO_NUL, TypeAdapter(Text).json_schema()["pattern"]}


def texts(schema: dict[str, Any], *, stripped: bool) -> st.SearchStrategy[str]:
    """Return all of Unicode that a field takes, or all that fits its pattern."""
    low, high = schema.get("minLength", 0), schema["maxLength"]
    if schema.get("pattern", NO_NUL) not in FREE_PATTERNS:
        pattern: str = schema["pattern"]
        return st.from_regex(pattern, fullmatch=True).filter(lambda text: low <= len(text) <= high)
    awkward = st.sampled_from([text for text in AWKWARD if low <= len(text) <= high])
    any_text = st.text(CHARACTERS, min_size=low, max_size=high) | awkward
    if not stripped:
        return any_text
    return any_text.filter(lambda text: text == text.strip() and len(text) >= low)


def values(kinds: dict[str, dict[str, Any]], *, stripped: bool) -> st.SearchStrategy[Any]:
    """Return all that a field takes and that is stored as it is."""
    found: list[st.SearchStrategy[Any]] = []
    if "null" in kinds:
        found.append(st.none())
    if "boolean" in kinds:
        found.append(st.booleans())
    if "integer" in kinds:
        found.append(st.integers(kinds["integer"]["minimum"], kinds["integer"]["maximum"]))
    elif "string" in kinds and "boolean" not in kinds:
        found.append(texts(kinds["string"], stripped=stripped))
    return st.one_of(found)


def bodies(resource: Resource, *, stripped: bool) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {name: values(kinds, stripped=stripped) for name, kinds in resource.fields.items()}
    )


def rows(resource: Resource) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Return rows that unique indexes let stand beside each other."""
    names = [name for name in resource.fields if is_unique(resource, name)]
    keys = tuple(partial(as_indexed, resource, name) for name in names)
    found = bodies(resource, stripped=False).map(hashed)
    return st.lists(found, max_size=6, unique_by=keys or None)


def is_unique(resource: Resource, name: str) -> bool:
    column = table_of(resource.table).c.get(name)
    return column is not None and bool(column.unique)


def as_indexed(resource: Resource, name: str, row: dict[str, Any]) -> Any:
    """Return a value as its unique index sees it."""
    field = resource.table.model_fields[name]
    return row[name].lower() if ignores_case(field.annotation, *field.metadata) else row[name]


def hashed(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields as a table has them: of a password only a hash, which is none here."""
    secret = {"hashed_password": "none"} if "password" in fields else {}
    return {name: value for name, value in fields.items() if name != "password"} | secret


# A test is run for one resource at a time, and takes that one's bodies or rows.
A_BODY = st.fixed_dictionaries({each.name: bodies(each, stripped=True) for each in RESOURCES})


ROWS = st.fixed_dictionaries({each.name: rows(each) for each in RESOURCES})
