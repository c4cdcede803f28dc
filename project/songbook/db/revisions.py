"""The revisions of the schema that the code knows."""

import ast
from collections.abc import Iterable, Mapping
from configparser import ConfigParser
from pathlib import Path
from typing import Any, NamedTuple


class Revisions(NamedTuple):
    """The revisions of the scripts by their predecessors, and those without a successor."""

    before: Mapping[str, tuple[str, ...]]
    heads: frozenset[str]

    @property
    def known(self) -> frozenset[str]:
        """All revisions."""
        return frozenset(self.before)

    def are_in(self, stored: Iterable[str]) -> bool:
        """Return whether a database has the schema that the code needs.

        A revision that the code does not know is newer.
        """
        return self.heads.issubset(stored) or not self.known.issuperset(stored)

    def missing(self, stored: Iterable[str]) -> int:
        """Return how many revisions a database lacks, 0 if it is newer."""
        found, to_visit = set[str](), [*stored]
        if not self.known.issuperset(to_visit):
            return 0
        while to_visit:
            revision = to_visit.pop()
            if revision not in found:
                found.add(revision)
                to_visit += self.before.get(revision, ())
        return len(self.known - found)


def read_revisions(directory: Path) -> Revisions:
    """Return the revisions of the scripts that the `alembic.ini` in a directory names.

    There are none without that file. The scripts are not imported, nor is Alembic: that takes 9 MB.
    """
    config = ConfigParser({"here": str(directory)})
    config.read(directory / "alembic.ini")
    scripts = config.get("alembic", "script_location", fallback="")
    folder = Path(directory, scripts, "versions")
    paths = folder.glob("*.py") if scripts else ()
    assigned = [_assigned(ast.parse(path.read_text(encoding="utf-8"))) for path in paths]
    before = {
        each["revision"]: (*_names(each.get("down_revision")),)
        for each in assigned
        if "revision" in each
    }
    followed = {name for names in before.values() for name in names}
    return Revisions(before, frozenset(before.keys() - followed))


def _assigned(tree: ast.Module) -> dict[str, Any]:
    """Return the values of `revision` and `down_revision`."""
    found = {}
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if isinstance(target, ast.Name) and target.id in {"revision", "down_revision"}:
                    found[target.id] = ast.literal_eval(node.value)
    return found


def _names(value: Any) -> Iterable[str]:
    """Return revisions as Alembic writes them: None, one, or a tuple of several."""
    return (value,) if isinstance(value, str) else value or ()
