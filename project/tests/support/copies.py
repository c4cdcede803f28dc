"""Copies of the project, which a test changes."""

import re
import shutil
import sys
from pathlib import Path

from tests.support.paths import PROJECT, ROOT

ASK = """
import asyncio, contextlib, json, sys
from alembic.config import main as alembic
from httpx import ASGITransport, AsyncClient
from app import __main__
from app.main import app

async def ask(asked):
    transport = ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        AsyncClient(transport=transport, base_url="http://songbook") as client,
    ):
        answers = [await client.request(method, url, json=body) for method, url, body in asked]
    return [[answer.status_code, answer.json()] for answer in answers]

message = sys.argv.pop(1)
for line in ("upgrade head", f"revision --autogenerate -m {message}", "upgrade head", "check"):
    alembic(line.split())
with contextlib.suppress(SystemExit):
    if sys.argv[1:]:
        __main__.cli()
print(json.dumps(asyncio.run(ask(json.load(sys.stdin)))))
"""
"""Migrates a copy of the project with a new revision, runs a command if any, sends requests."""


def copied_samples(place: Path) -> Path:
    """Copy the sample, and the library that serves it."""
    copy, caches = place.resolve() / "copy", shutil.ignore_patterns("__pycache__", ".*")
    for package in ("songbook", "tests/samples"):
        shutil.copytree(PROJECT / package, copy / package, ignore=caches)
    (copy / "tests" / "__init__.py").touch()  # ours keeps the settings of a developer away
    return copy


def copied_project(place: Path) -> Path:
    """Copy what runs, without what a developer has there."""
    local = shutil.ignore_patterns("__pycache__", ".*", "tests")
    return shutil.copytree(PROJECT, place.resolve() / "project", ignore=local)


def copied_repository(place: Path) -> Path:
    """Copy all that a clone has, without what is made there."""
    made = shutil.ignore_patterns(
        *("__pycache__", ".git", ".venv", ".data", ".*_cache", ".hypothesis", ".coverage*"),
        "node_modules",
    )
    return shutil.copytree(ROOT, place.resolve() / "songbook", ignore=made)


def add_environment(copy: Path) -> None:
    """Give a copy the environment of these tests, as if `make install` had made it there."""
    place = copy / ".venv"
    place.mkdir()
    installed = {"service", "tools"}
    for each in Path(sys.prefix).iterdir():
        if each.name not in installed:
            (place / each.name).symlink_to(each)
    for name in installed:
        (place / name).touch()


def apply(diff: str, copy: Path) -> None:
    """Change the lines of a diff: each that goes is there once, and the next ones replace it."""
    for part in diff.split("--- ")[1:]:
        name, _, lines = part.partition("\n")
        file = copy / name
        for old, new in re.findall(r"^-(.*\n)((?:\+.*\n)*)", lines, re.MULTILINE):
            text = file.read_text()
            assert text.count(old) == 1, (name, old)
            file.write_text(text.replace(old, re.sub(r"^\+", "", new, flags=re.MULTILINE)))
