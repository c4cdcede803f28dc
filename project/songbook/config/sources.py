"""Where settings are written: files per environment, `.env`, the process; the later wins."""

import os
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from dotenv.parser import Binding, parse_stream

_OF_OTHERS = {"POSTGRES_DB"}  # is like POSTGRES_DATA, but of the image of PostgreSQL


class StartError(Exception):
    """Why a command cannot do its work: one sentence that says what to do, without secrets."""


class Found(NamedTuple):
    """The text of a setting, and where it was written."""

    text: str
    origin: str
    is_path: bool = False


class Names(NamedTuple):
    """How a setting is called, the first name winning; whether a file may hold it in its stead."""

    spellings: tuple[str, ...]
    is_secret: bool


class _Layer(NamedTuple):
    origin: str
    texts: dict[str, str]


def find(
    fields: Mapping[str, Names], directory: Path, environment: str | None = None
) -> dict[str, Found]:
    """Return what is written of each field; raise StartError for what cannot be read.

    `directory` is that of `.env` and `config/`. The environment decides which of the files in
    `config/` counts; it may be written itself. A service that names none needs no such folder.
    """
    known = {"ENV_FILE", *(name for names in fields.values() for name in _spellings(names))}
    found: dict[str, Found] = {}
    for layer in _layers(directory, environment, known):
        for field, names in fields.items():
            if written := _written(layer, names):
                found[field] = written
    # only now, so that a file which a later layer overrules need not be there
    return {field: _content(fields[field], written) for field, written in found.items()}


def _spellings(names: Names) -> tuple[str, ...]:
    return (*names.spellings, _of_file(names)) if names.is_secret else names.spellings


def _layers(directory: Path, environment: str | None, known: Collection[str]) -> tuple[_Layer, ...]:
    process = _Layer("environment", _usable(os.environ))
    local = _local(directory, process.texts.get("ENV_FILE"), known)
    named = [layer.texts.get("ENVIRONMENT") for layer in (process, local)]
    asked = environment or named[0] or named[1]
    chosen = asked or "dev"
    if chosen not in {"dev", "qa", "prod"}:  # it will be refused by its name
        return local, process
    path = directory / "config" / f"{chosen}.env"
    if asked is None and not path.parent.is_dir():
        return local, process
    texts = _usable(_file(path, "ENVIRONMENT", known))
    texts.pop("ENVIRONMENT", None)  # what chose the file cannot be changed by it
    return _Layer(f"config/{chosen}.env", texts), local, process


def _local(directory: Path, given: str | None, known: Collection[str]) -> _Layer:
    """Read `.env`, if there is one, or what ENV_FILE names."""
    path = Path(given) if given else directory / ".env"
    is_there = given is not None or path.exists()
    return _Layer(given or ".env", _usable(_file(path, "ENV_FILE", known)) if is_there else {})


def _file(path: Path, setting: str, known: Collection[str]) -> dict[str, str | None]:
    """Read the lines NAME=value of a file; raise StartError for one that nobody can mean."""
    try:
        lines = [*parse_stream(StringIO(_text(path)))]
    except ValueError as reason:
        raise StartError(f"{setting} asks for {path}, which {reason}.") from None
    if bad := next((line for line in lines if line.error), None):
        raise StartError(f"{path} cannot be read in line {_number(bad)}: write NAME=value.")
    texts = {line.key: line.value for line in lines if line.key is not None}
    for name in texts:
        if meant := _meant(name.upper(), known):
            raise StartError(f"{path} has {name}, which is no setting: did you mean {meant}?")
    return texts


def _number(line: Binding) -> int:
    """Return the number of a line, to which its parser counts the empty ones before it."""
    text = line.original.string
    return line.original.line + text[: len(text) - len(text.lstrip())].count("\n")


def _meant(name: str, known: Collection[str]) -> str | None:
    """Return the setting that a name is nearly; TEST_DATABASE_URL and its like have a meaning."""
    if name in known or name in _OF_OTHERS:
        return None
    near = get_close_matches(name, known, n=1, cutoff=0.8)
    return near[0] if near and f"_{near[0]}_" not in f"_{name}_" else None


def _usable(texts: Mapping[str, str | None]) -> dict[str, str]:
    """Leave out what is empty; of the spellings of a name, the one in capitals counts."""
    capitals_last = sorted(texts, key=str.isupper)
    return {name.upper(): text for name in capitals_last if (text := texts[name])}


def _written(layer: _Layer, names: Names) -> Found | None:
    """Return what a layer says of a setting; of a secret it may name the file that holds it."""
    direct = [name for name in names.spellings if name in layer.texts]
    path = layer.texts.get(_of_file(names)) if names.is_secret else None
    if path and direct:
        raise StartError(
            f"{direct[0]} and {_of_file(names)} are both set in {layer.origin}: leave one out."
        )
    if path:
        return Found(path, f"file {path}", is_path=True)
    return Found(layer.texts[direct[0]], layer.origin) if direct else None


def _content(names: Names, found: Found) -> Found:
    if not found.is_path:
        return found
    try:
        text = _text(Path(found.text)).removesuffix("\n").removesuffix("\r")
    except ValueError as reason:
        raise StartError(f"{_of_file(names)} names {found.text}, which {reason}.") from None
    if not text:
        raise StartError(f"{_of_file(names)} names {found.text}, which is empty.")
    return Found(text, found.origin)


def _of_file(names: Names) -> str:
    return f"{names.spellings[0]}_FILE"


def _text(path: Path) -> str:
    """Return what a file holds; raise ValueError that says why it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError("is not a text in UTF-8") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"cannot be read ({reason})") from None
