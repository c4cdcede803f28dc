"""The services that are tested: this one, and the sample that the library's tests are run on."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from sqlalchemy.engine import URL

from songbook.cli.app import CommandLine
from songbook.db.database import Database
from tests.support.databases import spelled
from tests.support.paths import PROJECT
from tests.support.patience import POOL_TIMEOUT
from tests.support.processes import Service, ended_at_last
from tests.support.waiting import PATIENCE


@dataclass(frozen=True)
class Tested:
    """A service that is tested; nothing of it is imported before it is used."""

    package: str

    def app(self, **settings: Any) -> FastAPI:
        """Return its application for these settings."""
        settings = {"pool_timeout": POOL_TIMEOUT, **settings}
        given = import_module(f"{self.package}.settings").Settings(**settings)
        app: FastAPI = import_module(f"{self.package}.main").create_app(given)
        return app

    @property
    def directory(self) -> Path:
        """Return the directory of its `alembic.ini`."""
        directory: Path = import_module(f"{self.package}.settings").Settings.directory
        return directory

    @property
    def cli(self) -> CommandLine:
        """Return its command line."""
        cli: CommandLine = import_module(f"{self.package}.__main__").cli
        return cli

    @asynccontextmanager
    async def on(self, url: URL, **settings: Any) -> AsyncIterator[tuple[AsyncClient, Database]]:
        """Give a client of the service on a database, and the service's means to reach it."""
        app = self.app(database_url=spelled(url), **settings)
        transport = ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            AsyncClient(transport=transport, base_url="http://songbook") as client,
        ):
            yield client, app.state.service.database

    def run(self, *arguments: str, check: bool = True, **environment: str) -> CompletedProcess[str]:
        """Run its command line with these arguments, and these environment variables."""
        return subprocess.run(
            [sys.executable, "-m", self.package, *arguments],
            cwd=PROJECT,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=check,
        )

    def started(self, *options: str, **environment: str) -> Service:
        """Start to serve, in processes of its own."""
        return Service(self.package, "serve", *options, **environment)

    @contextmanager
    def serving(self, *options: str, **environment: str) -> Iterator[Service]:
        """Serve on a free port; give the service when it answers."""
        service = self.started(*options, **{"PORT": "0", **environment})
        with ended_at_last(service):
            service.answers(service.said())
            yield service


SERVICE = Tested("app")
SAMPLES = Tested("tests.samples")
