"""The resources of a service, found in its package by what their modules define."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from songbook.models.discovery import discover, family

Write = Callable[[str, str], None]

FAMILY = """
from typing import ClassVar

from sqlalchemy import MetaData

from songbook.auth import OPEN
from songbook.http import Router
from songbook.models import Schema, Partial, Record, RecordPublic

class Apart(Record):
    metadata: ClassVar[MetaData] = MetaData()  # which no other test looks at


router = Router(prefix="/{noun}s", dependencies=[OPEN])


class {name}Base(Schema):
    name: str


class {name}({name}Base, Apart, table=True):
    __tablename__ = "{package}_{noun}"


class {name}Create({name}Base):
    pass


class {name}Update({name}Base, Partial):
    pass


class {name}Public({name}Base, RecordPublic):
    pass
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a package that no other test has."""
    name = f"shop_{tmp_path.name}"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    return name


@pytest.fixture
def write(package: str, tmp_path: Path) -> Write:
    """Give what writes a module of the package."""

    def write(module: str, text: str) -> None:
        (tmp_path / package / f"{module}.py").write_text(text)

    return write


def text_of(package: str, noun: str, more: str = "") -> str:
    """Return the text of a resource module."""
    return more + FAMILY.format(package=package, noun=noun, name=noun.title())


def modules(package: str) -> dict[str, ModuleType]:
    return discover(package)


def test_a_module_with_a_router_is_a_resource_and_another_is_not(
    package: str, write: Write
) -> None:
    write("shelves", text_of(package, "shelf"))
    write("words", "ROUTERS = None\n")

    assert [*modules(package)] == ["shelves"]


def test_the_table_of_another_resource_that_a_module_imports_is_not_its_own(
    package: str, write: Write
) -> None:
    imported = f"from {package}.shelves import Shelf, ShelfCreate, ShelfPublic, ShelfUpdate\n"
    write("shelves", text_of(package, "shelf"))
    write("books", text_of(package, "book", imported))

    found = {name: family(module) for name, module in modules(package).items()}

    names = {name: [role.__name__ for role in roles] for name, roles in found.items()}
    assert names == {
        "books": ["Book", "BookCreate", "BookUpdate", "BookPublic"],
        "shelves": ["Shelf", "ShelfCreate", "ShelfUpdate", "ShelfPublic"],
    }


def test_a_second_table_without_a_family_is_the_modules_own_affair(
    package: str, write: Write
) -> None:
    more = f'\n\nclass Loan(Apart, table=True):\n    __tablename__ = "{package}_loan"\n'
    write("books", text_of(package, "book") + more)

    assert family(modules(package)["books"]).table.__name__ == "Book"


@pytest.mark.parametrize(
    ("old", "new", "tables"),
    [
        ("class BookCreate(", "class BookMake(", "Book"),
        ("Apart, table=True", "Apart", "none"),
    ],
)
def test_a_module_without_a_family_is_refused_by_its_name(
    package: str, write: Write, old: str, new: str, tables: str
) -> None:
    write("books", text_of(package, "book").replace(old, new))

    with pytest.raises(TypeError, match=rf"^{package}\.books must define .* its tables: {tables}$"):
        family(modules(package)["books"])


def test_two_families_in_a_module_are_refused(package: str, write: Write) -> None:
    write("books", text_of(package, "book") + text_of(package, "film"))

    with pytest.raises(TypeError, match=r"its tables: Book, Film$"):
        family(modules(package)["books"])
