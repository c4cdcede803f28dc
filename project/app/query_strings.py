"""Query strings, as their parameters."""

from collections.abc import Iterable
from urllib.parse import parse_qsl

from app.problems import Unacceptable


def read_pairs(query_string: bytes, most: int) -> list[tuple[str, str]]:
    """Return the parameters in their order; raise Unacceptable if there are more than `most`."""
    try:
        text = query_string.decode("ascii", "replace")
        return parse_qsl(text, keep_blank_values=True, max_num_fields=most)
    except ValueError:
        raise Unacceptable(f"There are more than {most} parameters.") from None


def grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Return all values of each parameter by its name."""
    given: dict[str, list[str]] = {}
    for name, value in pairs:
        given.setdefault(name, []).append(value)
    return given
