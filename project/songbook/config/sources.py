"""The sources of settings: the environment, `.env`, and the files in `config/`."""

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

_OF_OTHERS = {"POSTGRES_DB"}  # a variable of PostgreSQL's image, similar to POSTGRES_DATA


class CommandError(Exception):
    """An error of a command: one sentence that says what to do, without secrets."""


class VariablesSource(EnvSettingsSource):
    """The variables of the environment or of a file; adds the origins of its values."""

    env_vars: dict[str, str]

    def __init__(
        self, settings_cls: type[BaseSettings], origin: str, variables: Mapping[str, str | None]
    ) -> None:
        super().__init__(settings_cls)
        self.origin = origin
        self.origins: dict[str, str] = {}
        capitals_last = sorted(variables, key=str.isupper)  # the last one wins
        self.env_vars = {name.lower(): text for name in capitals_last if (text := variables[name])}

    def __call__(self) -> dict[str, Any]:
        """Return the values; read the file of a secret unless an earlier source has the secret."""
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
    """Return the sources by priority. Raises CommandError for a file that cannot be read.

    `environment` selects a file in `config/`; by default the variable of that name does. Without
    either the folder may be missing.
    """
    process = VariablesSource(settings_cls, "environment", os.environ)
    env_file = process.env_vars.get("env_file")
    path = Path(env_file) if env_file else directory / ".env"
    texts = _variables(path, "ENV_FILE", settings_cls) if env_file or path.exists() else {}
    local = VariablesSource(settings_cls, env_file or ".env", texts)
    selected = environment or (local.env_vars | process.env_vars).get("environment")
    name = selected or "dev"
    path = directory / "config" / f"{name}.env"
    is_known = name in get_args(settings_cls.model_fields["environment"].annotation)
    if not is_known or not (selected or path.parent.is_dir()):
        return [process, local]
    texts = _variables(path, "ENVIRONMENT", settings_cls)
    shared = VariablesSource(settings_cls, f"config/{name}.env", texts)
    shared.env_vars.pop("environment", None)  # the file cannot select another
    return [process, local, shared]


def _secrets(settings_cls: type[BaseSettings]) -> list[str]:
    fields = settings_cls.model_fields.items()
    return [name for name, field in fields if SecretStr in get_args(field.annotation)]


def _names(settings_cls: type[BaseSettings]) -> set[str]:
    """Return the names of all known variables."""
    aliases = (field.validation_alias for field in settings_cls.model_fields.values())
    others = [alias.choices for alias in aliases if isinstance(alias, AliasChoices)]
    files = [f"{name}_file" for name in _secrets(settings_cls)]
    names = ["env_file", *settings_cls.model_fields, *files, *chain(*others)]
    return {str(name).upper() for name in names}


def _variables(path: Path, setting: str, settings_cls: type[BaseSettings]) -> dict[str, str | None]:
    """Parse a file. Raises CommandError if it is missing, and for invalid lines and likely typos.

    pydantic-settings ignores missing files and invalid lines, and expands `${NAME}` in passwords.
    """
    lines = [*parse_stream(StringIO(_text(path, f"{setting} needs {path}")))]
    if bad := next((line for line in lines if line.error), None):
        # the parser counts empty lines before a line as part of it
        text = bad.original.string
        number = bad.original.line + text[: len(text) - len(text.lstrip())].count("\n")
        raise CommandError(f"{path}, line {number} is invalid: write NAME=value.")
    texts = {line.key: line.value for line in lines if line.key is not None}
    known = _names(settings_cls)
    for name in texts:
        if meant := _similar(name.upper(), known):
            raise CommandError(f"{path} sets the unknown variable {name}: did you mean {meant}?")
    return texts


def _similar(name: str, known: set[str]) -> str | None:
    """Return a similar setting; names that contain one, as TEST_DATABASE_URL, are no typos."""
    if name in known or name in _OF_OTHERS:
        return None
    near = get_close_matches(name, known, n=1, cutoff=0.8)
    return near[0] if near and f"_{near[0]}_" not in f"_{name}_" else None


def _secret(variable: str, path: str) -> str:
    subject = f"{variable} names {path}"
    if text := _text(Path(path), subject).removesuffix("\n").removesuffix("\r"):
        return text
    raise CommandError(f"{subject}, which is empty.")


def _text(path: Path, subject: str) -> str:
    """Return the text of a file. Raises CommandError that begins with the subject."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        reason = "is not valid UTF-8"
    except (OSError, ValueError) as error:
        reason = f"cannot be read ({getattr(error, 'strerror', None) or error})"
    raise CommandError(f"{subject}, which {reason}.")
