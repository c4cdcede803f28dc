"""The private names of others: each is taken by one module, so that one place follows a change."""

import ast
from collections import defaultdict
from collections.abc import Iterator

from tests.support.paths import PROJECT

UNDOCUMENTED = {
    "fastapi.routing.iter_route_contexts",
    "sqlalchemy.util.await_only",
    "sqlalchemy.util.concurrency.in_greenlet",
    "sqlmodel.main.FieldInfoMetadata",
    "sqlmodel.main.default_registry",
    "uvicorn.protocols.http.httptools_impl.HttpToolsProtocol",
}
"""What has no underscore in its name, and no page in the documentation."""

DOCUMENTED = {"._asdict", "._replace"}
"""What has an underscore in its name, and is documented."""

TAKEN = {
    "._attributes_set": "models/fields.py",
    "._bind_processors": "db/statements.py",
    "fastapi.routing.iter_route_contexts": "http/compat.py",
    "fastapi.telemetry._api._route_selected": "http/compat.py",
    "sqlalchemy.util.await_only": "crud/sessions.py",
    "sqlalchemy.util.concurrency.in_greenlet": "db/engine.py",
    "sqlmodel.main.FieldInfoMetadata": "models/fields.py",
    "sqlmodel.main.default_registry": "models/bases.py",
    "starlette._utils.get_route_path": "http/compat.py",
    "uvicorn.protocols.http.httptools_impl.HttpToolsProtocol": "server/protocol.py",
}
"""tests/songbook/test_private_names.py says of each what the library needs of it."""


def test_a_private_name_is_taken_by_one_module_and_is_one_that_is_tested() -> None:
    found = defaultdict(set)
    for path in (PROJECT / "songbook").rglob("*.py"):
        for name in private_names(ast.parse(path.read_text())):
            found[name].add(path.relative_to(PROJECT / "songbook").as_posix())

    assert found == {name: {module} for name, module in TAKEN.items()}


def private_names(tree: ast.AST) -> Iterator[str]:
    """Yield the private names that a module imports from other packages."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.Attribute) and not is_own(node.value):
            names = [f".{node.attr}"]
        else:
            continue
        taken = (name for name in names if name in UNDOCUMENTED or has_underscore(name))
        yield from (name for name in taken if name not in DOCUMENTED)


def is_own(value: ast.expr) -> bool:
    """Tell whether an attribute is one of the object's own, or of its base class."""
    if isinstance(value, ast.Call):
        return isinstance(value.func, ast.Name) and value.func.id == "super"
    return isinstance(value, ast.Name) and value.id in {"self", "cls"}


def has_underscore(name: str) -> bool:
    """Tell whether a part of a dotted name begins with one underscore."""
    return any(part.startswith("_") and not part.startswith("__") for part in name.split("."))
