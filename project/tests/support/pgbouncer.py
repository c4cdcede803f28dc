"""PgBouncer in transaction mode, between a service and a database."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import URL

from tests.support.databases import execute
from tests.support.patience import TIMEOUTS
from tests.support.waiting import wait_until

PGBOUNCER = shutil.which("pgbouncer")
PORT = 6432
CONNECTIONS = 3
WITHOUT_CACHE = {"prepared_statement_cache_size": "0"}

behind_pgbouncer = pytest.mark.skipif(PGBOUNCER is None, reason="there is no pgbouncer")


@pytest.fixture
def bounced(migrated_url: URL) -> Iterator[URL]:
    """Give the URL of a migrated database behind PgBouncer, which has few connections to it."""
    for name, value in TIMEOUTS.items():
        execute(migrated_url, f"ALTER DATABASE \"{migrated_url.database}\" SET {name} = '{value}'")
    with bouncer(migrated_url) as url:
        yield url.update_query_dict(WITHOUT_CACHE)


@contextmanager
def bouncer(to: URL, ignored: Collection[str] = tuple(TIMEOUTS)) -> Iterator[URL]:
    """Run a PgBouncer that ignores parameters and loses prepared statements; give its URL."""
    host = str(to.query.get("host") or to.host)
    place_of = {
        "host": host,
        "port": to.query.get("port") or to.port,
        "user": to.username,
        "password": to.password,
    }
    database = " ".join(f"{name}={value}" for name, value in place_of.items() if value)
    owner = Path(host).stat().st_uid if host.startswith("/") else os.geteuid()
    with tempfile.TemporaryDirectory() as place:
        os.chown(place, owner, -1)
        settings = Path(place, "pgbouncer.ini")
        settings.write_text(
            f"[databases]\n* = {database}\n"
            f"[pgbouncer]\nlisten_addr =\nlisten_port = {PORT}\nunix_socket_dir = {place}\n"
            f"auth_type = any\npool_mode = transaction\ndefault_pool_size = {CONNECTIONS}\n"
            f"ignore_startup_parameters = {','.join(ignored)}\n{_without_statements()}"
        )
        user = owner if os.geteuid() == 0 else None  # whom it refuses to run as
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with subprocess.Popen([str(PGBOUNCER), settings], user=user, **quiet) as process:
            try:
                wait_until(Path(place, f".s.PGSQL.{PORT}").exists)
                yield to.set(host=None, port=None, query={"host": place, "port": str(PORT)})
            finally:
                process.terminate()


def _without_statements() -> str:
    """Return the line for versions that keep prepared statements otherwise."""
    version = subprocess.check_output([str(PGBOUNCER), "--version"], text=True)
    found = re.search(r"(\d+)\.(\d+)", version)
    assert found
    return "max_prepared_statements = 0\n" if (int(found[1]), int(found[2])) >= (1, 21) else ""
