"""Which strings of digits stand for the whole numbers of a range."""


def decimal_pattern(low: int, high: int) -> str:
    """Return the regular expression of the decimal numbers `low` to `high`.

    They are written without leading zeros. It is understood alike by JSON Schema (ECMA 262) and by
    Python's `re`.
    """
    negative = [f"-{part}" for part in _parts(max(1, -high), -low)]
    return "^(" + "|".join(negative + _parts(max(0, low), high)) + ")$"


def _parts(low: int, high: int) -> list[str]:
    """Return one pattern for each stretch of `low` to `high` whose digits vary independently."""
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
