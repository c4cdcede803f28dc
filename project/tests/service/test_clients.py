"""What docs/clients.md shows runs: generated clients in Python and TypeScript, and walks."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy.engine import URL

from tests.support.databases import spelled
from tests.support.marks import slow
from tests.support.paths import PROJECT, ROOT
from tests.support.services import SERVICE

pytestmark = [slow, pytest.mark.processes, pytest.mark.timeout(1500)]

DOCUMENT = (ROOT / "docs" / "clients.md").read_text()
SONGS = (
    b"name,artist,year\nCody,Mogwai,1999\nKappa,Mogwai,1999\nHelicon 1,Mogwai,1997\nSo,Peter,1986\n"
)
INSTALL = ["-m", "uv", "--quiet", "pip", "install", "--python", "venv"]
METHODS = {"get", "post", "put", "patch", "delete"}


def blocks(language: str) -> list[str]:
    """Return the code of the document in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE)


def operations(address: str) -> int:
    """Return the number of operations in the document of a service."""
    paths: dict[str, Any] = httpx.get(f"{address}/openapi.json").json()["paths"]
    return sum(len(path.keys() & METHODS) for path in paths.values())


def run(*command: object, folder: Path) -> str:
    """Run a program; return what it prints."""
    done = subprocess.run(
        [*map(str, command)],
        cwd=folder,
        env={**os.environ, "PATH": f"{folder / 'venv' / 'bin'}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def address(migrated_url: URL) -> Iterator[str]:
    """Give the address of a service with four songs."""
    with SERVICE.serving(DATABASE_URL=spelled(migrated_url)) as service:
        headers = {"Content-Type": "text/csv"}
        httpx.post(f"{service.address}/songs.csv", content=SONGS, headers=headers)
        yield service.address


def test_a_generated_python_client_has_all_operations_and_runs(
    address: str, tmp_path: Path
) -> None:
    group = ["--group", f"{PROJECT / 'pyproject.toml'}:clients"]
    run(sys.executable, "-m", "uv", "--quiet", "venv", "venv", folder=tmp_path)
    run(sys.executable, *INSTALL, *group, folder=tmp_path)
    (tmp_path / "config.yaml").write_text(blocks("yaml")[0])
    client, walk = (code.replace("http://localhost:8004", address) for code in blocks("python"))
    program = tmp_path / "program.py"
    program.write_text(client)

    generate = ["generate", "--url", f"{address}/openapi.json", "--config", "config.yaml"]
    said = run("venv/bin/openapi-python-client", *generate, folder=tmp_path)
    package = tmp_path / "songbook-client" / "songbook_client"

    made = [each for each in (package / "api").rglob("*.py") if each.name != "__init__.py"]
    assert len(made) == operations(address)
    assert "warning" not in said.lower()
    run(sys.executable, *INSTALL, "./songbook-client", folder=tmp_path)
    run("venv/bin/mypy", "--strict", program, package, folder=tmp_path)
    found = run("venv/bin/python", program, folder=tmp_path)
    assert found == "['Auto Rock', 'Cody', 'Kappa', 'Helicon 1']\n"
    for library in ("httpx", "requests"):
        ran = run("venv/bin/python", "-c", walk.replace("httpx", library), folder=tmp_path)
        assert ran == "4\n"


@pytest.mark.skipif(not shutil.which("npm"), reason="needs npm (Node.js 20 or newer)")
def test_generated_typescript_clients_run(address: str, tmp_path: Path) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(ROOT / "tools" / "clients" / name, tmp_path)
    run("npm", "ci", "--no-audit", "--no-fund", "--loglevel=error", folder=tmp_path)
    (tmp_path / "tsconfig.json").write_text(blocks("json")[0])
    for name, code in zip(("fetch", "hey"), blocks("typescript"), strict=True):
        (tmp_path / f"{name}.mts").write_text(code.replace("http://localhost:8004", address))

    schema, programs = f"{address}/openapi.json", tmp_path / "node_modules" / ".bin"
    run(programs / "openapi-typescript", schema, "-o", "schema.ts", folder=tmp_path)
    run(programs / "openapi-ts", "-i", schema, "-o", "client", folder=tmp_path)
    run(programs / "tsc", folder=tmp_path)

    functions = (tmp_path / "client" / "sdk.gen.ts").read_text().count("\nexport const ")
    assert functions == operations(address)
    found = run("node", "fetch.mjs", folder=tmp_path)
    assert found == "[ 'Cody', 'Kappa', 'Fear Satan', 'Helicon 1' ]\n"
    found = run("node", "hey.mjs", folder=tmp_path)
    assert found == "[ 'Ratts', 'Cody', 'Kappa', 'Fear Satan', 'Helicon 1' ]\n"


def test_curl_walks_all_pages(address: str, tmp_path: Path) -> None:
    [code] = blocks("sh")
    (tmp_path / "walk.sh").write_text(
        code.replace("localhost:8004", address.removeprefix("http://"))
    )

    pages = run("sh", "walk.sh", folder=tmp_path)

    songs = re.findall('"name":"([^"]*)"', pages)
    assert songs == ["Cody", "Kappa", "Helicon 1"]
    assert pages.count("[") == 2
