"""The settings in force, as lines of text that keep the secrets."""

from typing import Any

from pydantic import SecretStr

from app.settings import Settings
from app.settings.urls import masked

_SECRET = "***"  # noqa: S105 - it stands for one
_NOTHING = "(none)"


def lines(settings: Settings) -> list[str]:
    """Return each setting: its name, its value, and where that was written."""
    rows = [
        (name.upper(), spelled(getattr(settings, name)), settings.origin(name))
        for name in Settings.model_fields
    ]
    if settings.url is not None:
        origin = settings.origin("database_url") if settings.database_url else "PG_*"
        place = list(Settings.model_fields).index("database_url")
        rows[place] = ("DATABASE_URL", _printable(masked(settings.url)), origin)
    names, values = (max(len(row[column]) for row in rows) for column in (0, 1))
    return [f"{name:{names}}  {value:{values}}  {origin}" for name, value, origin in rows]


def spelled(value: Any) -> str:
    """Spell a value as its variable would have it."""
    if value in (None, "", ()):
        return _NOTHING
    if isinstance(value, SecretStr):
        return _SECRET
    if isinstance(value, bool):
        return str(value).lower()
    return _printable(",".join(value) if isinstance(value, tuple) else str(value))


def _printable(text: str) -> str:
    return text if text.isprintable() else repr(text)
