"""The state that the requests of a service share."""

import asyncio
from collections.abc import MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from opentelemetry.trace import TracerProvider
from sqlmodel import SQLModel

from songbook.config import Settings
from songbook.db import Database, Housekeeping, Readiness, Shares
from songbook.metrics import SharedFile
from songbook.models import Relations

DRAINING = "draining"
"""The key that the server adds to the state of its lifespan, and so of each request, to drain."""

_MAX_UPLOADS = 64


@dataclass(eq=False)
class ServiceState:
    """The state of a service: `app.state.service`, `request.service`."""

    settings: Settings

    accounts: type[SQLModel] | None = None
    """The table class of the users that sign in."""

    tracer_provider: TracerProvider | None = None
    """OpenTelemetry's provider, if the environment names a collector."""

    untraced: set[str] = field(default_factory=lambda: {"/metrics"})
    """The paths whose requests have no span: that of the metrics, and routes tagged `health`."""

    relations: Relations = field(default_factory=Relations)
    """The relations between the resources."""

    database: Database = field(init=False)
    """The database, open while the service runs."""

    readiness: Readiness = field(init=False)
    """The readiness of the database, checked while the service runs."""

    shared_metrics: SharedFile | None = None
    """The metrics of this process among those of several, with METRICS_DIR."""

    housekeeping: Housekeeping = field(init=False)
    """The removal of old rows while the service runs."""

    is_started: bool = False
    """Whether the service runs."""

    key_locks: MutableMapping[tuple[int, bytes], asyncio.Lock] = field(
        default_factory=WeakValueDictionary
    )
    """The locks of the idempotency keys in use in this process."""

    uploads: Shares = field(
        default_factory=lambda: Shares(
            _MAX_UPLOADS, "Too many imports and uploads are in progress: try again.", "uploads"
        )
    )
    """The places of imports and uploads, which hold temporary files while a slow body comes."""

    import_thread: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="import")
    )
    """One thread, so that other requests wait for one chunk of an import at most."""
