"""Settings that are written for one test, where a machine's own do not count."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import AliasChoices

from songbook.config import Settings

Write = Callable[..., None]

SECRET_FIELDS = {"database_url", "pg_password", "oauth_token_secret", "metrics_token"}


def other_names(settings: type[Settings]) -> list[str]:
    """Return the names of variables which are not those of their fields."""
    return [
        str(other)
        for name, field in settings.model_fields.items()
        if isinstance(field.validation_alias, AliasChoices)
        for other in field.validation_alias.choices
        if other != name
    ]


def forget_environment(settings: type[Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away the variables of these settings that the machine of the tests has set."""
    names = [
        *settings.model_fields,
        *other_names(settings),
        *(f"{name}_file" for name in SECRET_FIELDS),
    ]
    for name in names:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Give what writes lines into a `.env`, the place between config/ and the environment."""
    path = tmp_path / ".env"

    def write(*lines: str) -> None:
        path.write_text("".join(f"{line}\n" for line in lines))
        monkeypatch.setenv("ENV_FILE", str(path))

    return write
