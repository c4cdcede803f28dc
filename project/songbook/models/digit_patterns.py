"""Regular expressions of integer ranges."""


def decimal_pattern(low: int, high: int) -> str:
    """Return the regular expression of the integers `low` to `high`, without leading zeros.

    JSON Schema (ECMA 262) and Python's `re` read it alike.
    """
    negative = [f"-{part}" for part in _parts(max(1, -high), -low)]
    return "^(" + "|".join(negative + _parts(max(0, low), high)) + ")$"


def _parts(low: int, high: int) -> list[str]:
    """Return a pattern for each part of the range whose digits vary independently."""
    if low > high:
        return []
    ends = {high}
    power = 10
    while (end := low - low % power + power - 1) < high:
        ends.add(end)
        power *= 10
    power = 10
    while (end := high + 1 - (high + 1) % power - 1) > low:
        ends.add(end)
        power *= 10
    starts = [low, *(end + 1 for end in sorted(ends))]
    return [
        "".join(_digit(first, last) for first, last in zip(str(start), str(end), strict=True))
        for start, end in zip(starts, sorted(ends), strict=False)
    ]


def _digit(first: str, last: str) -> str:
    return first if first == last else f"[{first}-{last}]"
