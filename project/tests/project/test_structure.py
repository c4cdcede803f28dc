"""The structure of the code: floors, sizes, names, sentences."""

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest

from app import resources
from app.main import create_app
from app.settings import Settings
from songbook.http.routing import Route
from songbook.models.bases import Partial, Record, RecordPublic, Schema
from songbook.models.discovery import family
from tests.support.copies import copied_project
from tests.support.marks import slow
from tests.support.paths import PROJECT
from tests.support.resources import is_nested

PACKAGES = ("app", "songbook")
MODULES = sorted(path for name in PACKAGES for path in (PROJECT / name).rglob("*.py"))
TESTS = sorted((PROJECT / "tests").rglob("*.py"))
FACES = [path for path in MODULES if path.name == "__init__.py" and "songbook" in path.parts]
USERS = [*MODULES, *(PROJECT / "tests" / "samples").rglob("*.py")]
HANDLER_LINES = 6
FUNCTION_LINES = 30

LOADED_LATE = {"songbook.db.embedded", "songbook.db.migrations", "songbook.tracing.export"}
"""What most processes do without: no face imports it."""

FOR_SERVICES = {
    "songbook.auth.NEEDS",
    "songbook.auth.OptionalUser",
    "songbook.auth.SHARED",
    "songbook.crud.TransactionDep",
    "songbook.crud.path_id",
    "songbook.errors.errors_at",
    "songbook.models.Url",
    "songbook.models.is_own",
}
"""What a face names for services that need it, as neither this one nor the samples do."""

each_module = pytest.mark.parametrize(
    "path", MODULES, ids=lambda path: str(path.relative_to(PROJECT))
)
each_resource = pytest.mark.parametrize(
    "module", resources.modules().values(), ids=resources.modules().keys()
)

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def public(tree: ast.Module | ast.ClassDef) -> Iterator[Definition]:
    """Give the public classes and functions, and the public methods of the public classes."""
    for node in tree.body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node)


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Hold the imports against the contracts, in a process, because it silences the loggers."""
    command = [sys.executable, "-c", "from importlinter import cli; cli.lint_imports_command()"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.processes
def test_a_module_imports_only_from_the_layers_below_it() -> None:
    checked = lint_imports(PROJECT)

    assert checked.returncode == 0, checked.stdout


@slow
@pytest.mark.processes
@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("app/resources/users.py", "from app.resources.songs import Song", "Resources may"),
        ("songbook/crud/records.py", "from songbook.lists import Page", "A package of"),
        ("songbook/models/bases.py", "from app.settings import Settings", "The library does"),
        ("app/settings.py", "from app.resources.songs import Song", "A module of the service"),
    ],
)
def test_an_import_that_is_for_the_type_checker_only_counts_as_well(
    tmp_path: Path, module: str, line: str, contract: str
) -> None:
    """Two resources that refer to each other are a circle, whenever they are imported."""
    copy = copied_project(tmp_path)
    songs = copy / "app" / "resources" / "songs.py"
    songs.write_text("from app.resources.users import User\n" + songs.read_text())
    assert lint_imports(copy).returncode == 0
    text = (copy / module).read_text()
    checked = f"from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    {line}\n"
    (copy / module).write_text(checked + text)

    broken = lint_imports(copy)

    assert broken.returncode == 1
    assert re.findall(r"^(.*) BROKEN$", broken.stdout, re.MULTILINE) == [
        found
        for found in re.findall(r"^(.*) (?:BROKEN|KEPT)$", broken.stdout, re.MULTILINE)
        if found.startswith(contract)
    ]


@each_module
def test_a_module_imports_from_another_package_what_its_face_names(path: Path) -> None:
    """What a package's `__init__` does not name may change without a look at the others."""
    own = ".".join(path.relative_to(PROJECT).with_suffix("").parts[:2])
    past = [
        module
        for name in imported_by(path)
        if (module := module_of(name)) and not f"{module}.".startswith(f"{own}.")
    ]

    assert [module for module in past if module not in LOADED_LATE] == []


@pytest.mark.parametrize("face", FACES, ids=lambda face: face.parent.name)
def test_what_a_face_names_is_used_outside_of_its_package(face: Path) -> None:
    package = ".".join(face.parent.relative_to(PROJECT).parts)
    named = {
        f"{package}.{alias.asname}"
        for node in ast.walk(ast.parse(face.read_text()))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname
    }
    used = {name for path in USERS if face.parent not in path.parents for name in used_by(path)}

    assert named - used - FOR_SERVICES == set()


@cache
def used_by(path: Path) -> frozenset[str]:
    """Return what a module imports, and the names that it takes from the modules it imports."""
    modules = {name.rpartition(".")[2]: name for name in imported_by(path)}
    taken = {
        f"{modules.get(node.value.id)}.{node.attr}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    return frozenset({*modules.values(), *taken})


def module_of(name: str) -> str | None:
    """Return the module inside of a package of the library that a name leads to, if it does."""
    found = re.match(r"songbook\.(\w+)\.(\w+)", name)
    if not found:
        return None
    inside = PROJECT / "songbook" / found[1] / found[2]
    is_module = inside.is_dir() or inside.with_suffix(".py").exists()
    return f"songbook.{found[1]}.{found[2]}" if is_module else None


@each_module
def test_a_function_fits_on_a_screen(path: Path) -> None:
    sizes = {
        function.name: (function.end_lineno or 0) - function.lineno + 1
        for function in functions(ast.parse(path.read_text()))
    }

    assert {name: size for name, size in sizes.items() if size > FUNCTION_LINES} == {}


@each_module
def test_what_is_public_says_what_it_is_for(path: Path) -> None:
    tree = ast.parse(path.read_text())

    assert ast.get_docstring(tree)
    assert [found.name for found in public(tree) if not is_explained(found)] == []


def is_explained(found: Definition) -> bool:
    """Return whether a definition has a docstring, its own or that of what it overrides."""
    decorators = {each.id for each in found.decorator_list if isinstance(each, ast.Name)}
    return "override" in decorators or bool(ast.get_docstring(found))


@each_resource
def test_a_resource_is_one_family_of_classes(module: ModuleType) -> None:
    table, create, update, shown = family(module)
    base = getattr(module, f"{table.__name__}Base")

    assert issubclass(base, Schema)
    assert issubclass(table, base)
    assert issubclass(create, base)
    assert issubclass(update, base)
    assert issubclass(update, Partial)
    assert issubclass(shown, base)
    assert issubclass(shown, RecordPublic)
    assert not [role for role in (create, update, shown) if issubclass(role, Record)]
    own = [name for name, info in create.model_fields.items() if not is_nested(info)]
    assert own == list(update.model_fields)
    assert list(create.model_fields)[: len(base.model_fields)] == list(base.model_fields)


@each_resource
def test_a_handler_says_what_in_a_few_lines(module: ModuleType) -> None:
    handlers = [route.endpoint for route in module.router.routes]
    assert handlers

    for handler in handlers:
        [function] = ast.parse(inspect.getsource(handler)).body
        assert isinstance(function, ast.AsyncFunctionDef)
        first, last = function.body[1], function.body[-1]
        assert (last.end_lineno or 0) - first.lineno + 1 <= HANDLER_LINES, function.name
        assert (ast.get_docstring(function) or "").count("\n") == 0
        assert "_" in function.name


def test_no_route_takes_or_gives_a_table_class() -> None:
    """A class with `table=True` validates nothing."""

    def parts(annotation: Any) -> Iterator[Any]:
        yield annotation
        for part in get_args(annotation):
            yield from parts(part)

    routes = [route for route in create_app(Settings()).routes if isinstance(route, Route)]
    assert routes
    for route in routes:
        hints = inspect.get_annotations(route.endpoint, eval_str=True)
        for hint in (*hints.values(), route.response_model):
            for part in parts(hint):
                assert not (isinstance(part, type) and issubclass(part, Record)), route.path


def printed_by(program: str) -> str:
    """Run a program in a process of its own; return what it prints."""
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout


STARTED = """
import asyncio, gc, os
os.environ["DATABASE_URL"] = "postgresql://127.0.0.1:1/nowhere"
from app.main import app

async def start():
    async with app.router.lifespan_context(app):
        print(len(gc.get_objects()), gc.get_freeze_count())

asyncio.run(start())
"""


@pytest.mark.processes
def test_the_garbage_collector_leaves_alone_what_is_made_at_the_start() -> None:
    """It would stop every request for as long as it takes to look through it."""
    watched, frozen = map(int, printed_by(STARTED).split())

    assert watched < 1000
    assert frozen > 100_000


@slow
@pytest.mark.processes
def test_a_process_that_only_serves_does_without_what_migrates() -> None:
    """It takes nine of the ninety megabytes that a worker has."""
    program = "import sys, app.__main__, app.main; print('alembic' in sys.modules)"

    assert printed_by(program) == "False\n"


@cache
def imported_by(path: Path) -> tuple[str, ...]:
    """Return the names of the modules that a module imports, and of what it takes from them."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            package = ".".join(path.relative_to(PROJECT).parts[: -node.level]) if node.level else ""
            module = ".".join(part for part in (package, node.module) if part)
            names += [f"{module}.{alias.name}" for alias in node.names]
    return tuple(names)


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(PROJECT / "tests")))
def test_no_test_imports_a_test(path: Path) -> None:
    """A test that others import can be neither split nor deleted: what is shared is in support."""
    parts = [name.split(".") for name in imported_by(path)]

    assert [
        ".".join(name)
        for name in parts
        if name[0] in {"tests", "conftest"} and name[1] not in {"support", "samples"}
    ] == []


LIBRARY_TESTS = [path for path in TESTS if path.is_relative_to(PROJECT / "tests" / "songbook")]
LIBRARY_TESTS += [path for path in TESTS if path.is_relative_to(PROJECT / "tests" / "samples")]


@pytest.mark.parametrize(
    "path", LIBRARY_TESTS, ids=lambda path: str(path.relative_to(PROJECT / "tests"))
)
def test_a_test_of_the_library_does_without_the_service(path: Path) -> None:
    """A team may remove or change all that is in `app`: these tests have samples of their own."""
    assert [name for name in imported_with(path) if name.split(".")[0] == "app"] == []


@cache
def imported_with(path: Path) -> frozenset[str]:
    """Return what a test imports, itself and by the modules that are shared among tests."""
    found, due = set[str](), [path]
    seen = {path}
    while due:
        for name in imported_by(due.pop()):
            found.add(name)
            shared = PROJECT.joinpath(*name.split(".")[:3]).with_suffix(".py")
            if name.startswith("tests.support.") and shared.is_file() and shared not in seen:
                seen.add(shared)
                due.append(shared)
    return frozenset(found)
