"""A message of the log with named fields."""

from collections.abc import Hashable

from songbook.logs.exceptions import describe, fields_of_error


class Event:
    """A message of any logger, as in `logger.warning(Event("Worker died", pid=1))`.

    The log of the service has each value as a field of its name; other handlers and formatters
    write all in one line. An exception is written without what it may quote of a request.
    """

    def __init__(self, text: str, **values: object) -> None:
        self.text = text
        self.values = values

    @property
    def kind(self) -> Hashable:
        """What it has in common with others: the text, and the types of values."""
        return (self.text, *map(type, self.values.values()))

    @property
    def fields(self) -> dict[str, object]:
        """The values as they are logged; an exception has the fields of `fields_of_error`."""
        fields: dict[str, object] = {}
        for name, value in self.values.items():
            if isinstance(value, BaseException):
                fields |= {**fields_of_error(value), name: describe(value)}
            else:
                fields[name] = value
        return fields

    def __str__(self) -> str:
        return " ".join([self.text, *(f"{name}={value}" for name, value in self.fields.items())])
