"""Patience: services and clients wait longer here than elsewhere, as the machine may be busy.

A step that takes seconds changes nothing that a test sees, unless a bound is what it tests.
"""

from collections.abc import Callable, Iterator
from pkgutil import resolve_name
from typing import Any

import pytest
from httpx._config import DEFAULT_TIMEOUT_CONFIG

from songbook import db

POOL_TIMEOUT = 30.0
"""Seconds that a request waits for a connection where a test does not say it."""

TIMEOUTS = {
    **db.TIMEOUTS,
    "lock_timeout": "30s",
    "statement_timeout": "40s",
    "idle_in_transaction_session_timeout": "50s",
}
"""Parameters of a session, as the service sets them at its start."""

LOCK_TIMEOUT = "SET LOCAL lock_timeout = '30s'"
LONGER: dict[str, Any] = {
    "songbook.auth.passwords._WAIT_SECONDS": 30.0,
    "songbook.crud.idempotency.WAIT_SECONDS": 30.0,
    "songbook.crud.sessions.LOCK_TIMEOUT": LOCK_TIMEOUT,
    "songbook.crud.transactions.LOCK_TIMEOUT": LOCK_TIMEOUT,
    "songbook.db.engine._COMMAND_SECONDS": 50,
    "songbook.db.engine._CONNECT_SECONDS": 30,
    "songbook.db.engine._SERVER_SETTINGS": {
        **resolve_name("songbook.db.engine._SERVER_SETTINGS"),
        **TIMEOUTS,
    },
    "songbook.db.readiness._POOL_SECONDS": 25.0,
    "songbook.db.readiness._PROBE_SECONDS": 30.0,
    "songbook.home.routes._COUNT_SECONDS": 30.0,
}
OWN = {name: resolve_name(name) for name in LONGER}

for part in ("connect", "read", "write", "pool"):
    setattr(DEFAULT_TIMEOUT_CONFIG, part, 30.0)  # a client's, where a test does not say it


@pytest.fixture(scope="session", autouse=True)
def _longer_bounds() -> Iterator[None]:
    """Let the services of this process wait longer; those of other processes have their own."""
    with pytest.MonkeyPatch.context() as patch:
        for name, bound in LONGER.items():
            patch.setattr(name, bound)
        yield


@pytest.fixture
def restore_bounds(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return what gives the services that a test starts their own bounds again, of one module."""

    def restore(module: str) -> None:
        for name in LONGER:
            if name.startswith(f"{module}."):
                monkeypatch.setattr(name, OWN[name])

    return restore
