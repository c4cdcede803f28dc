"""The patterns that say in a JSON schema which digits stand for the numbers of a range."""

import re

import jsonschema_rs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from songbook.models.digit_patterns import decimal_pattern
from songbook.models.text_values import INT4, INT8

BOUNDS = st.integers(*INT8) | st.integers(-1200, 1200)


def matches(pattern: str, text: str) -> bool:
    """Ask Python and a JSON schema, which have to agree."""
    schema = jsonschema_rs.validator_for({"pattern": pattern})
    found = re.search(pattern, text) is not None
    assert schema.is_valid(text) is found
    return found


@pytest.mark.long
@given(st.tuples(BOUNDS, BOUNDS).map(sorted), st.data())
@example([1, 9999], None)
@example([*INT4], None)
@example([*INT8], None)
def test_a_pattern_matches_the_numbers_of_its_range_and_no_other(
    bounds: list[int], data: st.DataObject | None
) -> None:
    low, high = bounds
    near = {low - 1, low, low + 1, (low + high) // 2, high - 1, high, high + 1, 0, -low, -high}
    if data:
        near |= set(data.draw(st.lists(st.integers(low, high) | BOUNDS, max_size=20)))
    pattern = decimal_pattern(low, high)

    for number in near:
        assert matches(pattern, str(number)) is (low <= number <= high), number


@pytest.mark.long
def test_every_range_of_three_digits_is_matched_exactly() -> None:
    for low in range(-130, 131, 3):
        for high in range(low, 131, 7):
            pattern = re.compile(decimal_pattern(low, high))
            matched = [number for number in range(-140, 141) if pattern.search(str(number))]
            assert matched == list(range(low, high + 1))


@pytest.mark.parametrize("text", ["", "-", "-0", "007", "+5", " 5", "5 ", "5.0", "1e1", "1_0", "٣"])
def test_a_number_has_one_spelling(text: str) -> None:
    assert not matches(decimal_pattern(*INT8), text)
