"""The contenders of the measurement, in the order of its table, and how each is started."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
PEERS = HERE / "peers"
PROJECT = HERE.parent / "project"
PYTHON = str(PEERS / ".venv/bin/python")  # not the service's: `make peers` makes it
NODE = shutil.which("node")

ADDRESS = ["--host", "127.0.0.1", "--port", "PORT"]
UVICORN = [PYTHON, "-m", "uvicorn", "--loop", "uvloop", "--http", "httptools"]
UVICORN += ["--lifespan", "on", "--no-access-log", *ADDRESS]
# A thread for each connection of the pool. gunicorn's port is not a word of its own.
GUNICORN = (
    'exec "$0" -m gunicorn --worker-class gthread --workers 1 --threads "${POOL_SIZE:-10}" '
    '--no-control-socket --bind "127.0.0.1:$1" "$2"'
)


PRODUCTION = {"ENVIRONMENT": "qa", "CLOSED_WRITES": "false", "DRAIN_SECONDS": "0"}
"""Settings of Songbook: as in production, but without a secret, and anybody may write."""


class Contender(NamedTuple):
    """One server: what it is called, the command that starts it, and the folder it starts in."""

    name: str
    title: str
    command: list[str]
    folder: Path = PEERS
    needs: Path | None = Path(PYTHON)

    def obstacle(self) -> str:
        """Say why it cannot be started here; nothing, if it can."""
        if self.name == "fastify" and not NODE:
            return f"{self.title} is left out: there is no `node` on the PATH."
        if self.needs and not self.needs.exists():
            return f"{self.title} is left out: `make peers` installs what it needs."
        return ""


TUTORIAL = Contender("tutorial", "the tutorial's handlers", [*UVICORN, "tutorial:app"])
DJANGO = Contender(
    "django",
    "Django REST framework",
    ["sh", "-c", GUNICORN, PYTHON, "PORT", "django_rest:application"],
)
LITESTAR = Contender("litestar", "Litestar", [*UVICORN, "litestar_peer:app"])
FASTIFY = Contender(
    "fastify",
    "Fastify + pg",
    [NODE or "node", "fastify_peer.mjs", "127.0.0.1", "PORT"],
    needs=PEERS / "node_modules",
)
RAW = Contender("raw", "bare ASGI + asyncpg", [*UVICORN, "raw:app"])
SONGBOOK = Contender(
    "songbook",
    "Songbook",
    [sys.executable, "-m", "app", "serve", *ADDRESS, "--workers", "1"],
    folder=PROJECT,
    needs=None,
)
CONTENDERS = {
    contender.name: contender for contender in (TUTORIAL, DJANGO, LITESTAR, FASTIFY, RAW, SONGBOOK)
}

# What the peers are made of, beside what Songbook itself is.
PYTHON_VERSIONS = """
from importlib.metadata import version
names = ("django", "djangorestframework", "psycopg", "gunicorn", "litestar", "fastapi", "sqlmodel")
print(*(f"{name} {version(name)}" for name in names), sep="\\n")
"""


def versions() -> list[str]:
    """Name what the peers that are installed run on, each with its version."""
    told = subprocess.run(
        [PYTHON, "-c", PYTHON_VERSIONS], check=True, capture_output=True, text=True
    )
    found = told.stdout.splitlines()
    if NODE and FASTIFY.needs and FASTIFY.needs.exists():
        node = subprocess.run([NODE, "--version"], check=True, capture_output=True, text=True)
        found.append(f"node {node.stdout.strip().removeprefix('v')}")
        for name in ("fastify", "pg"):
            package = json.loads((FASTIFY.needs / name / "package.json").read_text("utf-8"))
            found.append(f"{name} {package['version']}")
    return found
