"""A tiny application: what a server does is seen without a database.

It answers with the number of its process. `/block` blocks the event loop for a moment.
"""

import os
import time
from pathlib import Path
from typing import Any

from starlette.types import Receive, Scope, Send

from songbook.config import Settings
from songbook.server import inherited_sockets, serve


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one request, or live."""
    if scope["type"] == "lifespan":
        await live(receive, send)
        return
    if scope["path"] == "/block":
        block()
    text = b"%d" % os.getpid()
    headers = [(b"content-length", b"%d" % len(text))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text})


def block() -> None:
    """Block for a second, and say so in a file, as a service does that has a mistake."""
    Path(os.environ["BLOCKED"]).touch()
    time.sleep(1)


async def live(receive: Receive, send: Send) -> None:
    """Start and stop with the server."""
    message: Any = await receive()
    await send({"type": f"{message['type']}.complete"})
    message = await receive()
    await send({"type": f"{message['type']}.complete"})


if __name__ == "__main__":
    settings = Settings.load()
    sockets = inherited_sockets()
    serve("tests.support.tiny:app", settings, settings.port, sockets=sockets)
