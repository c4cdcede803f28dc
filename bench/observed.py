"""Measure what metrics and the access log cost, each against neither, in turns in one process.

The requests reach the application without a server and its client: what these take is the same with
all, and their noise is more than what is measured. Messages of the log cost nothing here: a request
that succeeds writes none.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

from contenders import PROJECT
from measure import tell
from sheets import Rows
from turns import Taken, compared, run, turn_of

sys.path.insert(0, str(PROJECT))

REQUESTS = 160
AT_ONCE = 16
NOTHING, METRICS, ACCESS_LOG, BOTH = "neither", "metrics", "access log", "both"
VARIANTS = (NOTHING, METRICS, ACCESS_LOG, BOTH)
"""What watches the requests; production has the second."""


class Asked(NamedTuple):
    """A request."""

    method: str
    path: str
    query: bytes = b""
    body: bytes = b""


SCENARIOS: dict[str, Callable[[int], Asked]] = {
    "one row": lambda number: Asked("GET", f"/songs/{number % 1000 + 1}"),
    "list, 100 rows": lambda number: Asked("GET", "/songs", f"year_gte={number % 50}".encode()),
    "create": lambda _: Asked("POST", "/songs", body=b'{"name":"Angel","artist":"Massive Attack"}'),
}


async def ask(app: Any, asked: Asked) -> None:
    """Send one request to the application. Raises RuntimeError for an error response."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "method": asked.method,
        "path": asked.path,
        "raw_path": asked.path.encode(),
        "query_string": asked.query,
        "root_path": "",
        "client": ("127.0.0.1", 1),
        "state": {},
        "headers": [
            (b"host", b"localhost"),
            *([(b"content-type", b"application/json")] if asked.body else []),
            (b"content-length", str(len(asked.body)).encode()),
        ],
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": asked.body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message.get("status", 200) >= 400:
            raise RuntimeError(f"{asked} was answered {message['status']}")

    await app(scope, receive, send)


async def batch(app: Any, scenario: Callable[[int], Asked]) -> float:
    """Send a batch of requests; return the CPU per request, in microseconds."""
    numbers = iter(range(REQUESTS))

    async def client() -> None:
        for number in numbers:
            await ask(app, scenario(number))

    before = time.process_time()
    await asyncio.gather(*(client() for _ in range(AT_ONCE)))
    return (time.process_time() - before) / REQUESTS * 1e6


@contextmanager
def watched(app: Any, variant: str, log: Any) -> Iterator[None]:
    """Let the requests in the block be watched as the variant says."""
    from songbook.http import HeadersMiddleware  # noqa: PLC0415 - of the project
    from songbook.metrics import Counter, Histogram  # noqa: PLC0415

    middleware = app.middleware_stack
    while not isinstance(middleware, HeadersMiddleware):
        middleware = middleware.app
    with patch.object(middleware, "_access_log", log if variant in (ACCESS_LOG, BOTH) else None):
        if variant in (METRICS, BOTH):
            yield
            return
        with (
            patch.object(Counter, "inc", lambda *_, **__: None),
            patch.object(Histogram, "observe", lambda *_: None),
        ):
            yield


async def measured(rounds: int) -> Taken:
    """Return the CPU per request of each scenario and variant, by round."""
    from app.main import app  # noqa: PLC0415 - it reads its settings
    from songbook.http.access_log import AccessLog  # noqa: PLC0415

    found: Taken = {}
    with tempfile.TemporaryFile() as file:
        log = AccessLog(file.fileno(), "json")
        async with app.router.lifespan_context(app):
            for name, scenario in SCENARIOS.items():
                tell(f"{name}, {rounds} rounds")
                await batch(app, scenario)
                taken = found[name] = {variant: [] for variant in VARIANTS}
                for number in range(rounds):
                    for variant in turn_of(VARIANTS, number):
                        with watched(app, variant, log):
                            taken[variant].append(await batch(app, scenario))
    return found


def table(found: Taken) -> Rows:
    """Return the medians, and the medians of the ratios of each round to neither."""
    return compared(
        "CPU µs per request",
        found,
        lambda median: f"{median:.1f}",
        lambda median, ratio: f"{median:.1f} ({(ratio - 1) * 100:+.1f} %)",
    )


if __name__ == "__main__":
    run("observed", __doc__, measured, table, rounds=500, digits=2)
