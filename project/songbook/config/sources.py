"""The sources of settings: variables of the process, of `.env`, and of the environment's file."""

import os
from collections.abc import Mapping
from difflib import get_close_matches
from io import StringIO
from itertools import chain
from pathlib import Path
from typing import Any, get_args

from dotenv.parser import parse_stream
from pydantic import AliasChoices, SecretStr
from pydantic_settings import BaseSettings, EnvSettingsSource

_OF_OTHERS = {"POSTGRES_DB"}  # is like POSTGRES_DATA, but of the image of PostgreSQL


class CommandError(Exception):
    """Why a command cannot do its work: one sentence that says what to do, without secrets."""


class VariablesSource(EnvSettingsSource):
    """The variables of the process or of a file; adds to `origins` the fields that it sets."""

    env_vars: dict[str, str]

    def __init__(
        self, settings_cls: type[BaseSettings], origin: str, variables: Mapping[str, str | None]
    ) -> None:
        super().__init__(settings_cls)
        self.origin = origin
        self.origins: dict[str, str] = {}
        capitals_last = sorted(variables, key=str.isupper)  # of the spellings of a name, they win
        self.env_vars = {name.lower(): text for name in capitals_last if (text := variables[name])}

    def __call__(self) -> dict[str, Any]:
        """Return the values; read the file of a secret only if no source before has the secret."""
        values = super().__call__()
        for name in _secrets(self.settings_cls):
            variable = f"{name.upper()}_FILE"
            path = self.env_vars.get(variable.lower())
            if path and name in values:
                both = f"{name.upper()} and {variable}"
                raise CommandError(f"{both} are both set in {self.origin}: leave one out.")
            if path and name not in self.origins:
                values[name] = _secret(variable, path)
                self.origins[name] = f"file {path}"
        for name in values:
            self.origins.setdefault(name, self.origin)
        return values


def variables_sources(
    settings_cls: type[BaseSettings], directory: Path, environment: str | None
) -> list[VariablesSource]:
    """Return the sources, the first of which wins; raise CommandError for what cannot be read.

    `directory` is that of `.env` and `config/`. The environment decides which of the files in
    `config/` counts; it may be written itself. A service that names none needs no such folder.
    """
    process = VariablesSource(settings_cls, "environment", os.environ)
    env_file = process.env_vars.get("env_file")
    path = Path(env_file) if env_file else directory / ".env"
    texts = _variables(path, "ENV_FILE", settings_cls) if env_file or path.exists() else {}
    local = VariablesSource(settings_cls, env_file or ".env", texts)
    asked = environment or (local.env_vars | process.env_vars).get("environment")
    chosen = asked or "dev"
    path = directory / "config" / f"{chosen}.env"
    is_known = chosen in get_args(settings_cls.model_fields["environment"].annotation)
    if not is_known or not (asked or path.parent.is_dir()):
        return [process, local]
    texts = _variables(path, "ENVIRONMENT", settings_cls)
    shared = VariablesSource(settings_cls, f"config/{chosen}.env", texts)
    shared.env_vars.pop("environment", None)  # what chose the file cannot be changed by it
    return [process, local, shared]


def _secrets(settings_cls: type[BaseSettings]) -> list[str]:
    fields = settings_cls.model_fields.items()
    return [name for name, field in fields if SecretStr in get_args(field.annotation)]


def _names(settings_cls: type[BaseSettings]) -> set[str]:
    """Return the names of all variables that count."""
    aliases = (field.validation_alias for field in settings_cls.model_fields.values())
    others = [alias.choices for alias in aliases if isinstance(alias, AliasChoices)]
    files = [f"{name}_file" for name in _secrets(settings_cls)]
    names = ["env_file", *settings_cls.model_fields, *files, *chain(*others)]
    return {str(name).upper() for name in names}


def _variables(path: Path, setting: str, settings_cls: type[BaseSettings]) -> dict[str, str | None]:
    """Read the lines NAME=value of a file; raise CommandError for one that nobody can mean.

    pydantic's own source takes a missing file for an empty one, skips the lines that it cannot
    parse, and replaces `${NAME}` in passwords.
    """
    lines = [*parse_stream(StringIO(_text(path, f"{setting} needs {path}")))]
    if bad := next((line for line in lines if line.error), None):
        # the parser counts the empty lines before it to a line
        text = bad.original.string
        number = bad.original.line + text[: len(text) - len(text.lstrip())].count("\n")
        raise CommandError(f"{path}, line {number} is invalid: write NAME=value.")
    texts = {line.key: line.value for line in lines if line.key is not None}
    known = _names(settings_cls)
    for name in texts:
        if meant := _meant(name.upper(), known):
            raise CommandError(f"{path} sets the unknown variable {name}: did you mean {meant}?")
    return texts


def _meant(name: str, known: set[str]) -> str | None:
    """Return the setting that a name is nearly; TEST_DATABASE_URL and its like have a meaning."""
    if name in known or name in _OF_OTHERS:
        return None
    near = get_close_matches(name, known, n=1, cutoff=0.8)
    return near[0] if near and f"_{near[0]}_" not in f"_{name}_" else None


def _secret(variable: str, path: str) -> str:
    asked = f"{variable} names {path}"
    if text := _text(Path(path), asked).removesuffix("\n").removesuffix("\r"):
        return text
    raise CommandError(f"{asked}, which is empty.")


def _text(path: Path, asked: str) -> str:
    """Return what a file holds; raise CommandError that says what asked for it."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        reason = "is not a text in UTF-8"
    except (OSError, ValueError) as error:
        reason = f"cannot be read ({getattr(error, 'strerror', None) or error})"
    raise CommandError(f"{asked}, which {reason}.")
