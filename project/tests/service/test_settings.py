"""The settings of this service: its defaults, its environments, its documents."""

import ast
import re
from itertools import chain, pairwise
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest
from annotated_types import Ge, Le
from dotenv import dotenv_values

from app.settings import Settings
from songbook.config import CommandError
from songbook.config.listing import format_setting
from songbook.config.production import weakness
from tests.support.paths import PROJECT, ROOT
from tests.support.settings import SECRET_FIELDS, Write, forget_environment, other_names

DEFAULTS = Settings.model_construct().model_dump()
CONFIGS = sorted((PROJECT / "config").iterdir())
DOCUMENTS = [
    *(ROOT.glob("*.md"), ROOT.glob("docs/**/*"), ROOT.glob("examples/*.md")),
    *(ROOT.glob("docker-compose*"), ROOT.glob("Makefile"), PROJECT.glob("Dockerfile")),
    *(PROJECT.glob("config/*"), PROJECT.glob("*.sh")),
]


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what the machine that runs the tests has set."""
    forget_environment(Settings, monkeypatch)


def test_without_any_setting_the_service_is_private_and_brings_its_database() -> None:
    settings = Settings.load()

    assert settings.url is None
    assert settings.postgres_data == ROOT / ".data" / "postgres"
    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 8004, 1)
    assert settings.require_if_match is False


@pytest.mark.parametrize("number", ["0", "1000001"])
def test_a_user_has_one_item_to_a_million(number: str) -> None:
    with pytest.raises(CommandError, match=r"^ITEMS_PER_USER should be"):
        Settings.load(items_per_user=number)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_the_file_of_an_environment_has_known_names_a_reason_and_no_secret(path: Path) -> None:
    names = {name.lower() for name in dotenv_values(path)}

    assert names <= set(Settings.model_fields) - SECRET_FIELDS - {"environment"}
    assert path.read_text().startswith("# ")
    assert Settings.load(environment=path.stem).environment == path.stem


def test_every_environment_has_its_file_and_only_that_for_developers_leaves_all_open() -> None:
    environments = get_args(Settings.model_fields["environment"].annotation)

    assert {path.name for path in CONFIGS} == {f"{name}.env" for name in environments}
    assert Settings.load(environment="dev").model_dump() == DEFAULTS | {"drain_seconds": 0}
    for name in ("qa", "prod"):
        closed = {"environment": name, "closed_writes": True, "private_profiles": True}
        closed["public_docs"] = False
        assert Settings.load(environment=name).model_dump() == DEFAULTS | closed


def test_what_the_tutorials_call_a_setting_is_understood(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("PROJECT_NAME=Earlier")
    monkeypatch.setenv("APP_NAME", "Awesome API")
    monkeypatch.setenv("SQLALCHEMY_ECHO", "true")
    monkeypatch.setenv("ADMIN_EMAIL", "admin@example.org")
    settings = Settings.load()
    assert (settings.project_name, settings.echo_sql) == ("Awesome API", True)
    assert settings.admin_email == "admin@example.org"

    monkeypatch.setenv("PROJECT_NAME", "Another")
    assert Settings.load().project_name == "Another"


def test_no_document_holds_a_secret_that_production_would_take() -> None:
    """Whoever copies a line must not end up with what everybody knows."""
    paths = [
        path for found in DOCUMENTS for path in found if path.is_file() and path.suffix != ".png"
    ]
    texts = "\n".join(path.read_text() for path in paths)
    shown = re.findall(r"OAUTH_TOKEN_SECRET\s*[=:]\s*[\"']?([^\s\"'`]+)", texts)

    assert len(paths) > 10
    assert [secret for secret in shown if weakness(secret) is None] == []


def test_the_document_lists_every_setting_as_it_is() -> None:
    document = (ROOT / "docs" / "settings.md").read_text()
    rows = re.findall(r"^\| `([A-Z_]+)` \|(.*)\|$", document, re.MULTILINE)
    listed = {name: tuple(cell.strip() for cell in cells.split("|")) for name, cells in rows}

    meant = meanings()
    assert listed == {
        name.upper(): (default(name), meant[name], bounds(name)) for name in Settings.model_fields
    }
    for alias in other_names(Settings):
        assert f"`{alias.upper()}`" in document
    for name in SECRET_FIELDS:
        assert f"`{name.upper()}_FILE`" in document


def meanings() -> dict[str, str]:
    """Return what stands below each field of the class."""
    modules = [PROJECT / "songbook" / "config" / "settings.py", PROJECT / "app" / "settings.py"]
    trees = [ast.parse(module.read_text()) for module in modules]
    bodies = [
        found.body for tree in trees for found in tree.body if isinstance(found, ast.ClassDef)
    ]
    return {
        field.target.id: str(below.value.value)
        for body in bodies
        for field, below in pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
    }


def default(name: str) -> str:
    value = Settings.model_fields[name].default
    text = str(value.relative_to(ROOT)) if isinstance(value, Path) else format_setting(value)
    return "" if text == "(none)" else f"`{text}`"


def bounds(name: str) -> str:
    field = Settings.model_fields[name]
    metadata = [*field.metadata, *chain(*map(get_args, get_args(field.annotation)))]
    low = [bound.ge for bound in metadata if isinstance(bound, Ge)]
    high = [bound.le for bound in metadata if isinstance(bound, Le)]
    if low:
        return f"{low[0]} to {high[0]}"
    if bool in {field.annotation, *get_args(field.annotation)}:
        return "`true`, `false`"
    is_choice = get_origin(field.annotation) is Literal
    return ", ".join(f"`{choice}`" for choice in get_args(field.annotation)) if is_choice else ""
