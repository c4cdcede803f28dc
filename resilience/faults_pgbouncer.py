"""PgBouncer in transaction mode, in front of a cluster."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster import SOCKET, Cluster

IGNORED = (
    *("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"),
    "client_connection_check_interval",
)
START = 60  # seconds until it must listen


@contextmanager
def pgbouncer(cluster: Cluster) -> Iterator[Path]:
    """Run a PgBouncer; yield the folder of its socket."""
    folder = cluster.folder / "pgbouncer"
    folder.mkdir(exist_ok=True)
    os.chown(folder, cluster.account.pw_uid, cluster.account.pw_gid)
    config, log, socket = folder / "pgbouncer.ini", folder / "log", folder / SOCKET
    config.write_text(configuration(cluster, folder))
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["pgbouncer", str(config)],
            stdout=output,
            stderr=output,
            user=cluster.account.pw_uid,  # it refuses root
            group=cluster.account.pw_gid,
        )
    try:
        deadline = time.monotonic() + START
        while not socket.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"PgBouncer does not listen:\n{log.read_text()}")
            time.sleep(0.05)
        yield folder
    finally:
        process.kill()
        process.wait()
        socket.unlink(missing_ok=True)


def configuration(cluster: Cluster, folder: Path) -> str:
    """Return its configuration: fewer connections to PostgreSQL than clients."""
    lines = (
        "[databases]",
        f"songbook = host={cluster.door} port=5432 dbname=songbook user=songbook",
        "[pgbouncer]",
        "listen_addr =",
        "listen_port = 5432",
        f"unix_socket_dir = {folder}",
        "auth_type = any",
        "pool_mode = transaction",
        "default_pool_size = 4",
        f"ignore_startup_parameters = {', '.join(IGNORED)}",
    )
    return "\n".join([*lines, ""])
