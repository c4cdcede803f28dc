"""The settings as lines of text, with secrets masked."""

from typing import Any

from pydantic import SecretStr

from songbook.config.settings import Settings
from songbook.config.urls import mask_password


def setting_lines(settings: Settings) -> list[str]:
    """Return a line for each setting: name, value and origin."""
    rows = [(name.upper(), *_cells(settings, name)) for name in type(settings).model_fields]
    names, values = (max(len(row[column]) for row in rows) for column in (0, 1))
    return [f"{name:{names}}  {value:{values}}  {origin}" for name, value, origin in rows]


def _cells(settings: Settings, name: str) -> tuple[str, str]:
    """Return the value of a setting, and its origin or "unused"."""
    url, origin = settings.url, settings.origin(name)
    are_parts_used = url is not None and not settings.database_url
    if name == "database_url":
        text = f"(embedded, in {settings.postgres_data})" if url is None else mask_password(url)
        return _printable(text), "PG_*" if are_parts_used else origin
    text = format_setting(getattr(settings, name))
    return text, "unused" if name.startswith("pg_") and not are_parts_used else origin


def format_setting(value: Any) -> str:
    """Return a value as in an environment variable."""
    if value in (None, "", ()):
        return "(none)"
    if isinstance(value, SecretStr):
        return "***"
    if isinstance(value, bool):
        return str(value).lower()
    return _printable(",".join(value) if isinstance(value, tuple) else str(value))


def _printable(text: str) -> str:
    return text if text.isprintable() else repr(text)
