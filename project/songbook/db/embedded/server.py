"""The server of one folder: created, started and stopped under two locks.

Each process that uses the server holds a shared lock on `users` for its life, and the processes of
PostgreSQL hold one on `server`: the kernel counts both, so that a killed process is gone at once.
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
PATIENCE = 60  # seconds, with what another process does
RECOVERY = 300  # seconds: a start may have to replay a gigabyte of log
LONGEST = 600  # seconds, of any program
LOG_LIMIT = 10_000_000
SOCKET = ".s.PGSQL.5432"
SOCKET_LIMIT = 103  # bytes: macOS has the shortest sun_path
INITDB = (
    *("initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-instructions"),
    *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
    *("--set=timezone=UTC", "--set=log_timezone=UTC", "--set=max_connections=100"),
)
NO_FSYNC = ("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")


@dataclass
class Server:
    """The server of one folder, running or not."""

    folder: Path
    binaries: Path
    account: pwd.struct_passwd
    haste: tuple[str, ...]
    users: FileIO = field(init=False)
    host: str = field(init=False)

    @property
    def cluster(self) -> Path:
        """Where PostgreSQL keeps its data."""
        return self.folder / "cluster"

    @property
    def sockets(self) -> Path:
        """Where to make the socket: PostgreSQL splits a list, so the name must be plain."""
        is_plain = re.fullmatch(r"[\w/.-]+", str(self.folder), re.ASCII)
        if is_plain and len(f"{self.folder}/{SOCKET}") <= SOCKET_LIMIT:
            return self.folder
        digest = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]
        return Path(tempfile.gettempdir()).resolve() / f"songbook-{digest}"

    def open(self, name: str) -> FileIO:
        """Open a lock file, which belongs to the account even if root makes it."""
        file = os.open(self.folder / name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        info = os.fstat(file)
        if info.st_uid == 0 and info.st_nlink == 1:
            os.fchown(file, self.account.pw_uid, -1)
        return FileIO(file, "r+")

    def join(self) -> None:
        """Become one of the users; the kernel counts them, so that a killed one is gone, too."""
        self.users = self.open("users")
        try:
            self.host = quote(self.answer())
        except BaseException:
            with self.users:
                self.leave()
            raise

    def answer(self) -> str:
        """Return the directory of the socket where the server answers, started if need be."""
        for _ in _attempts():
            # Whoever stops the server keeps us from this lock until he has done so.
            if _locks(self.users, fcntl.LOCK_SH) and (host := self.answering() or self.started()):
                return host
        raise EmbeddedError(
            f"PostgreSQL has been starting or stopping for {PATIENCE} seconds:"
            f" end the processes that hold {self.folder / 'users'}."
        )

    def leave(self) -> None:
        """Stop the server unless somebody else uses it."""
        fcntl.flock(self.users, fcntl.LOCK_UN)
        with self.open("server") as alive:
            if _locks(self.users, fcntl.LOCK_EX):
                for _ in _attempts():
                    # A dead server's pid may be somebody else's by now: pg_ctl would signal him.
                    if _locks(alive, fcntl.LOCK_EX):
                        break
                    with suppress(subprocess.SubprocessError):  # has no pid file yet, or no more
                        self.run("pg_ctl", "stop", "-s", "-D", "cluster", "-m", "fast")
                        with suppress(OSError):  # which keeps the folder, where the cluster is
                            self.sockets.rmdir()

    def started(self) -> str | None:
        """Start the server unless a process of it lives or another user does so right now."""
        with self.open("server") as alive:
            if _locks(alive, fcntl.LOCK_EX):
                self.create(alive)
                self.start(alive)
        return self.answering()

    def answering(self) -> str | None:
        """Ask the server itself: its pid file may be left over, or copied with the folder."""
        with suppress(OSError, IndexError), socket.socket(socket.AF_UNIX) as probe:
            lines = os.fsdecode((self.cluster / "postmaster.pid").read_bytes()).splitlines()
            if lines[7].strip() == "ready" and self.cluster.samefile(lines[1]):
                probe.settimeout(PATIENCE)
                probe.connect(f"{lines[4]}/{SOCKET}")
                return lines[4]
        return None

    def create(self, alive: FileIO) -> None:
        """Create the cluster and its database, whole or not at all."""
        if self.cluster.exists():
            return
        draft = self.folder / "cluster.new"
        shutil.rmtree(draft, ignore_errors=True)
        sync = ("--no-sync",) if self.haste else ()
        single = ("postgres", "--single", *self.haste, "-c", "exit_on_error=on", "-D", draft.name)
        try:
            self.run(*INITDB, *sync, "-D", draft.name, keep=alive)
            self.run(*single, "postgres", given="CREATE DATABASE songbook;\n", keep=alive)
            draft.rename(self.cluster)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        directory = os.open(self.folder, os.O_RDONLY)
        os.fsync(directory)  # or a power cut could undo the rename
        os.close(directory)

    def start(self, alive: FileIO) -> None:
        """Start the server, which inherits the lock."""
        version = (self.cluster / "PG_VERSION").read_text().strip()
        if version != MAJOR:
            raise EmbeddedError(f"{self.folder} was created by PostgreSQL {version}: {ADVICE}.")
        self.make_sockets()
        log = self.folder / "server.log"
        if log.exists() and log.stat().st_size > LOG_LIMIT:
            log.replace(f"{log}.old")
        logged = log.stat().st_size if log.exists() else 0
        # Nobody held the lock, so whatever process these files name is not our server.
        for stale in (self.cluster / "postmaster.pid", self.sockets / f"{SOCKET}.lock"):
            stale.unlink(missing_ok=True)
        options = shlex.join(["-k", str(self.sockets), "-c", "listen_addresses=", *self.haste])
        wait = ("-t", str(RECOVERY), "-l", log.name)
        try:
            self.run("pg_ctl", "start", "-s", "-D", "cluster", *wait, "-o", options, keep=alive)
        except subprocess.CalledProcessError as error:
            with suppress(OSError):
                error.output += log.read_bytes()[logged:].decode(errors="replace")
            raise

    def make_sockets(self) -> None:
        """Make the socket's directory private: whoever can enter it may do everything."""
        with suppress(FileExistsError):
            self.sockets.mkdir(mode=0o700)
            os.chown(self.sockets, self.account.pw_uid, -1)
        info = self.sockets.lstat()
        if info.st_uid != self.account.pw_uid or info.st_mode & 0o077:
            raise EmbeddedError(f"{self.sockets} is not private to the server: remove it.")

    def run(self, *command: str, given: str = "", keep: FileIO | None = None) -> None:
        """Run a program of the wheel as the account, where the terminal's Ctrl-C cannot reach it.

        It inherits the lock that it is to keep. Raises CalledProcessError, with what it printed.
        """
        account, is_root = self.account, os.geteuid() == 0
        subprocess.run(  # noqa: S603 - the programs of the wheel
            [str(self.binaries / command[0]), *command[1:]],
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=True,
            timeout=LONGEST,
            cwd=self.folder,
            env={"PATH": os.defpath, "LC_ALL": "C"},  # not the caller's PGDATA, PGPORT, PGOPTIONS
            start_new_session=True,
            pass_fds=[keep.fileno()] if keep else [],
            user=account.pw_uid if is_root else None,
            group=account.pw_gid if is_root else None,
            extra_groups=groups_of(account) if is_root else None,
        )


def _locks(file: FileIO, kind: int) -> bool:
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
