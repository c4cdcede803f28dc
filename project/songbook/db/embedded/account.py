"""The account of the embedded PostgreSQL, and its access to folders."""

import logging
import os
import pwd
from contextlib import suppress
from pathlib import Path

ADVICE = "choose another folder with POSTGRES_DATA, or set DATABASE_URL"
_logger = logging.getLogger(__name__)

_HARMLESS = {"lost+found", ".gitignore", ".gitkeep", ".DS_Store"}


class EmbeddedError(Exception):
    """An error of the embedded PostgreSQL: one sentence that says what to do."""


def claim(folder: Path) -> pwd.struct_passwd:
    """Create the folder, private to the account of the server, which is returned."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    info = folder.stat()
    if os.geteuid() not in {0, info.st_uid}:
        raise EmbeddedError(f"{folder} belongs to another user: {ADVICE}.")
    if info.st_mode & 0o700 != 0o700:
        raise EmbeddedError(f"{folder} is not writable: {ADVICE}.")
    # `users` is created first: without it other files do not belong to a server.
    if {path.name for path in folder.iterdir()} - _HARMLESS and not (folder / "users").exists():
        raise EmbeddedError(f"{folder} holds other files: {ADVICE}.")
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
    name = f"user {owner}" if owner else "nobody"
    raise EmbeddedError(f"PostgreSQL cannot run as {name}: add it to /etc/passwd, or {ADVICE}.")


def groups_of(account: pwd.struct_passwd) -> list[int]:
    """Return the ids of the groups of an account."""
    return os.getgrouplist(account.pw_name, account.pw_gid)


def grant_access(account: pwd.struct_passwd, binaries: Path, *folders: Path) -> None:
    """Grant the account access to the binaries and the folders, and nothing else."""
    install, granted = binaries.parent, []
    wheel = install.parent
    for top in (install, wheel / ".dylibs", wheel.with_suffix(".libs")):
        if top.exists() and _lacks_access(account, top, 0o5):
            for path in (*top.rglob("*"), top):  # top last, as it marks the rest as done
                _allow(path, 0o5 if path.stat().st_mode & 0o100 else 0o4)
            granted.append(f"{top} (o+rX)")
    for parent in sorted({path for each in (install, *folders) for path in each.parents}):
        if _lacks_access(account, parent, 0o1):
            _allow(parent, 0o1)
            granted.append(f"{parent} (o+x)")
    if granted:
        text = "PostgreSQL does not run as root, but as %s, which was given access to %s"
        _logger.warning(text, account.pw_name, ", ".join(granted))


def _lacks_access(account: pwd.struct_passwd, path: Path, bits: int) -> bool:
    info = path.stat()
    is_other = account.pw_uid != info.st_uid and info.st_gid not in groups_of(account)
    return is_other and info.st_mode & bits != bits


def _allow(path: Path, bits: int) -> None:
    if not path.is_symlink():
        path.chmod(path.stat().st_mode & 0o7777 | bits)
