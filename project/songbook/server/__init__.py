"""uvicorn, the HTTP/1.1 protocol and the log."""

from songbook.server.run import run

__all__ = ["run"]
