"""Texts that are hard to get right, and strategies of them."""

from hypothesis import strategies as st

from songbook.models.field_types import TextType

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


def texts(type_: TextType, *, stripped: bool) -> st.SearchStrategy[str]:
    """Return all of Unicode that a field takes, or all that fits its pattern."""
    low, high = type_.min_length, type_.max_length
    if type_.pattern:
        found = st.from_regex(type_.pattern, fullmatch=True)
        return found.filter(lambda text: low <= len(text) <= high)
    awkward = st.sampled_from([text for text in AWKWARD if low <= len(text) <= high])
    any_text = st.text(CHARACTERS, min_size=low, max_size=high) | awkward
    if not stripped:
        return any_text
    return any_text.filter(lambda text: text == text.strip() and len(text) >= low)
