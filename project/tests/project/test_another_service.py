"""The library serves another service: as a folder beside its `app`, and as a wheel."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from sqlalchemy.engine import URL

from tests.support.databases import spelled
from tests.support.marks import slow
from tests.support.paths import PROJECT
from tests.support.processes import Service, ended_at_last
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.processes

SERVICE = {
    "app/__init__.py": '"""A library of books."""\n',
    "app/settings.py": """
from pathlib import Path

from songbook import config


class Settings(config.Settings):
    directory = Path(__file__).parents[1]
    motto: str = "Read"
""",
    "app/main.py": """
from app.resources import routers
from app.settings import Settings
from songbook.application import create_app

app = create_app(Settings.load(), routers(), title="Library", version="7")
""",
    "app/__main__.py": """
from app.resources import modules
from app.settings import Settings
from songbook.cli import create_cli

cli = create_cli(Settings, modules, application="app.main:app", title="Library", help="Books.")

if __name__ == "__main__":
    cli()
""",
    "app/resources/books.py": """
from typing import Annotated

from fastapi import Depends, Request, Response
from sqlmodel import Field

from songbook.auth import OPEN
from songbook.bulk import imports_of
from songbook.crud import ReadDep, Records, WriteDep
from songbook.http import Router
from songbook.lists import Page, page_of
from songbook.models import Schema, Partial, Record, RecordPublic

router = Router(prefix="/books", tags=["books"], dependencies=[OPEN])


class BookBase(Schema):
    title: str = Field(unique=True)


class Book(BookBase, Record, table=True):
    pass


class BookCreate(BookBase):
    pass


class BookUpdate(BookBase, Partial):
    pass


class BookPublic(BookBase, RecordPublic):
    pass


books = Records(Book, BookPublic)
BooksPage = Annotated[Page, Depends(page_of(books))]


@router.get("", response_model=list[BookPublic])
async def list_books(page: BooksPage, db: ReadDep) -> Response:
    return await page.response(db)


@router.post("", response_model=BookPublic, status_code=201, bulk=imports_of(books, BookCreate))
async def create_book(body: BookCreate, request: Request, db: WriteDep) -> Response:
    row = await db.fetch(books.insert(body.model_dump()))
    return books.created(row, request)
""",
}
"""What somebody else wrote."""

CSV = {"Content-Type": "text/csv"}


@pytest.fixture
def another(tmp_path: Path) -> Path:
    """Return the folder of another service: its own package, and what every service has."""
    folder = tmp_path.resolve() / "library"
    (folder / "migrations" / "versions").mkdir(parents=True)
    (folder / "app" / "resources").mkdir(parents=True)
    for name in ("alembic.ini", "migrations/env.py", "migrations/script.py.mako"):
        shutil.copy(PROJECT / name, folder / name)
    shutil.copy(PROJECT / "app" / "resources" / "__init__.py", folder / "app" / "resources")
    for name, text in SERVICE.items():
        (folder / name).write_text(text)
    return folder


@slow
def test_the_library_alone_serves_another_service(another: Path, scratch_url: URL) -> None:
    caches = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PROJECT / "songbook", another / "songbook", ignore=caches)

    assert_serves(another, scratch_url)


@slow
def test_a_wheel_of_the_library_serves_another_service(
    another: Path, installed: Path, scratch_url: URL
) -> None:
    assert_serves(another, scratch_url, PYTHONPATH=str(installed))


def assert_serves(folder: Path, url: URL, **environment: str) -> None:
    environment |= {"DATABASE_URL": spelled(url)}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for command in (
        ("alembic", "revision", "--autogenerate", "-m", "add books"),
        ("app", "migrate"),
        ("alembic", "check"),
        ("alembic", "downgrade", "base"),
        ("app", "migrate"),
    ):
        subprocess.run(
            [sys.executable, "-m", *command],
            cwd=folder,
            env={**os.environ, "PATH": path, **environment},
            capture_output=True,
            check=True,
            timeout=PATIENCE,
        )
    service = Service("app", "serve", folder=folder, PORT="0", **environment)
    with ended_at_last(service), httpx.Client() as client:
        service.answers(service.said())
        client.base_url = httpx.URL(service.address)
        answers = [
            client.post("/books", json={"title": "Stoner"}),
            client.post(
                "/books", content="title\nAugustus\n", headers={"Content-Type": "text/csv"}
            ),
            client.post("/books", json={"title": "Stoner"}),
            client.get("/books?q=stoner"),
        ]
        document = client.get("/openapi.json").json()
        nobody = client.post("/api/auth/token", data={"username": "ada", "password": "x"})
        end = service.end(signal.SIGTERM)

    assert [answer.status_code for answer in answers] == [201, 201, 409, 200]
    assert answers[-1].json() == [{"id": 1, "title": "Stoner"}]
    assert document["info"] == {"title": "Library", "version": "7"}
    assert "/books" in document["paths"]
    assert nobody.status_code == 404
    assert end.told.count("Traceback") == 0
