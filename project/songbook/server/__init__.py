"""uvicorn, the HTTP/1.1 protocol and the log."""

from songbook.server.address import check_address
from songbook.server.run import serve

__all__ = [
    "check_address",
    "serve",
]
