"""The server of one folder: created, started and stopped under two locks.

Each client process holds a shared lock on `users`, and the processes of PostgreSQL hold one on
`server`: the kernel releases the locks of a killed process at once.
"""

import fcntl
import hashlib
import os
import pwd
import re
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from urllib.parse import quote

from songbook.db.embedded.account import ADVICE, EmbeddedError, groups_of

MAJOR = "18"
PATIENCE = 60  # seconds, for another process
RECOVERY = 300  # seconds: a start may replay a gigabyte of WAL
TIMEOUT = 600  # seconds, of any program
LOG_LIMIT = 10_000_000  # bytes
# Messages of errors quote values of clients, and the service logs errors itself.
LOG_OPTIONS = (
    *("-c", "log_min_messages=log", "-c", "log_min_error_statement=panic"),
    *("-c", "log_error_verbosity=terse"),  # no DETAIL, no CONTEXT
)
CLUSTER = "cluster"
SOCKET = ".s.PGSQL.5432"
SOCKET_LIMIT = 103  # bytes: the sun_path of macOS
INITDB = (
    *("initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-instructions"),
    *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
    *("--set=timezone=UTC", "--set=log_timezone=UTC"),
)
# WORKERS times POOL_SIZE of a big machine: 14 times 20, and some for psql. Each 100 take 6 MB of
# shared memory. An option of the start, so that clusters of the past have it, too.
CONNECTIONS = ("-c", "max_connections=300")
NO_FSYNC = ("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")


@dataclass
class Server:
    """The server of one folder, running or not."""

    folder: Path
    binaries: Path
    account: pwd.struct_passwd
    options: tuple[str, ...]
    users: FileIO = field(init=False)
    host: str = field(init=False)

    @property
    def cluster(self) -> Path:
        """The data directory of PostgreSQL."""
        return self.folder / CLUSTER

    @property
    def sockets(self) -> Path:
        """The directory of the socket; PostgreSQL accepts a list, so the name must be plain."""
        is_plain = re.fullmatch(r"[\w/.-]+", str(self.folder), re.ASCII)
        if is_plain and len(f"{self.folder}/{SOCKET}") <= SOCKET_LIMIT:
            return self.folder
        digest = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]
        return Path(tempfile.gettempdir()).resolve() / f"songbook-{digest}"

    def open(self, name: str) -> FileIO:
        """Open a lock file, which belongs to the account even if root creates it."""
        file = os.open(self.folder / name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        info = os.fstat(file)
        if info.st_uid == 0 and info.st_nlink == 1:
            os.fchown(file, self.account.pw_uid, -1)
        return FileIO(file, "r+")

    def connect(self) -> None:
        """Lock `users`, start the server unless it runs, and set `host`."""
        self.users = self.open("users")
        try:
            self.host = quote(self.wait())
        except BaseException:
            with self.users:
                self.release()
            raise

    def wait(self) -> str:
        """Return the directory of the socket as soon as the server runs; start it if necessary."""
        for _ in _attempts():
            # A process that stops the server holds an exclusive lock meanwhile.
            if _lock(self.users, fcntl.LOCK_SH) and (host := self.probe() or self.ensure_started()):
                return host
        raise EmbeddedError(
            f"PostgreSQL has been starting or stopping for {PATIENCE} seconds:"
            f" end the processes that hold {self.folder / 'users'}."
        )

    def release(self) -> None:
        """Unlock `users`; stop the server unless another process uses it."""
        fcntl.flock(self.users, fcntl.LOCK_UN)
        with self.open("server") as alive:
            if _lock(self.users, fcntl.LOCK_EX):
                for _ in _attempts():
                    # The pid of a dead server may be reused, and pg_ctl would signal that process.
                    if _lock(alive, fcntl.LOCK_EX):
                        break
                    with suppress(subprocess.SubprocessError):  # there may be no pid file
                        self.run("pg_ctl", "stop", "-s", "-D", "cluster", "-m", "fast")
                        with suppress(OSError):  # it may be the folder itself
                            self.sockets.rmdir()

    def ensure_started(self) -> str | None:
        """Start the server unless it runs or another process starts it."""
        with self.open("server") as alive:
            if _lock(alive, fcntl.LOCK_EX):
                self.create(alive)
                self.start(alive)
        return self.probe()

    def restart_if_gone(self) -> bool:
        """Start the server again if it has died; return whether it was started."""
        with self.open("server") as alive:
            # a folder without a cluster was emptied meanwhile, and is not filled again
            if not self.cluster.exists() or not _lock(alive, fcntl.LOCK_EX):
                return False
            self.start(alive)
        return True

    def probe(self) -> str | None:
        """Return the directory of the socket if the server accepts a connection.

        The pid file alone may be stale, or copied with the folder.
        """
        with suppress(OSError, IndexError), socket.socket(socket.AF_UNIX) as client:
            lines = os.fsdecode((self.cluster / "postmaster.pid").read_bytes()).splitlines()
            if lines[7].strip() == "ready" and self.cluster.samefile(lines[1]):
                client.settimeout(PATIENCE)
                client.connect(f"{lines[4]}/{SOCKET}")
                return lines[4]
        return None

    def create(self, alive: FileIO) -> None:
        """Create the cluster and its database atomically."""
        if self.cluster.exists():
            return
        draft = self.folder / "cluster.new"
        shutil.rmtree(draft, ignore_errors=True)
        sync = ("--no-sync",) if self.options else ()
        single = ("postgres", "--single", *self.options, "-c", "exit_on_error=on", "-D", draft.name)
        try:
            self.run(*INITDB, *sync, "-D", draft.name, keep=alive)
            self.run(*single, "postgres", stdin="CREATE DATABASE songbook;\n", keep=alive)
            draft.rename(self.cluster)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        directory = os.open(self.folder, os.O_RDONLY)
        os.fsync(directory)  # a power failure could undo the rename
        os.close(directory)

    def start(self, alive: FileIO) -> None:
        """Start the server, which inherits the lock."""
        version = (self.cluster / "PG_VERSION").read_text().strip()
        if version != MAJOR:
            raise EmbeddedError(f"{self.folder} was created by PostgreSQL {version}: {ADVICE}.")
        self.make_sockets()
        self.trim_log()
        log = self.folder / "server.log"
        logged = log.stat().st_size
        # The lock was free, so these files do not belong to a running server.
        for stale in (self.cluster / "postmaster.pid", self.sockets / f"{SOCKET}.lock"):
            stale.unlink(missing_ok=True)
        own = ("-k", str(self.sockets), "-c", "listen_addresses=", *CONNECTIONS, *LOG_OPTIONS)
        options = shlex.join([*own, *self.options])
        wait = ("-t", str(RECOVERY), "-l", log.name)
        try:
            self.run("pg_ctl", "start", "-s", "-D", "cluster", *wait, "-o", options, keep=alive)
        except subprocess.CalledProcessError as error:
            with suppress(OSError):
                error.output += log.read_bytes()[logged:].decode(errors="replace")
            raise

    def trim_log(self) -> None:
        """Move the end of a log larger than LOG_LIMIT to `server.log.old`; the server may run.

        It appends, so that the file can be truncated; lines of the moment in between are lost.
        """
        with self.open("server.log") as log:
            if os.fstat(log.fileno()).st_size <= LOG_LIMIT or not _lock(log, fcntl.LOCK_EX):
                return
            old = self.folder / "server.log.old"
            log.seek(-LOG_LIMIT, os.SEEK_END)
            with suppress(OSError):  # a full disk
                old.unlink(missing_ok=True)
                with old.open("xb") as file:
                    shutil.copyfileobj(log, file)
            log.truncate(0)

    def make_sockets(self) -> None:
        """Create the directory of the socket, private: access to it is access to the database."""
        with suppress(FileExistsError):
            self.sockets.mkdir(mode=0o700)
            os.chown(self.sockets, self.account.pw_uid, -1)
        info = self.sockets.lstat()
        if info.st_uid != self.account.pw_uid or info.st_mode & 0o077:
            raise EmbeddedError(f"{self.sockets} is not private to the server: remove it.")

    def run(self, *command: str, stdin: str = "", keep: FileIO | None = None) -> None:
        """Run a program of the wheel as the account, in a session that Ctrl-C does not reach.

        It inherits the lock `keep`. Raises CalledProcessError with its output.
        """
        account, is_root = self.account, os.geteuid() == 0
        subprocess.run(  # noqa: S603 - the programs of the wheel
            [str(self.binaries / command[0]), *command[1:]],
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=True,
            timeout=TIMEOUT,
            cwd=self.folder,
            env={"PATH": os.defpath, "LC_ALL": "C"},  # not the caller's PGDATA, PGPORT, PGOPTIONS
            start_new_session=True,
            pass_fds=[keep.fileno()] if keep else [],
            user=account.pw_uid if is_root else None,
            group=account.pw_gid if is_root else None,
            extra_groups=groups_of(account) if is_root else None,
        )


def _lock(file: FileIO, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _attempts() -> Iterator[None]:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        yield
        time.sleep(0.02)
