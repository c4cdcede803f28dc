"""Many rows over HTTP, by clients that cost next to nothing: the server shares two cores with them.

An upload is a file that the kernel sends; a download is bytes that nobody looks at.
"""

import json
import socket
from http.client import HTTPConnection
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

CSV = "text/csv"
NDJSON = "application/x-ndjson"

PATIENCE = 900  # seconds: how long the other side may be silent before the run is given up
PIECE = 2**20
HEAD = b"HTTP/1.1 200 "
END = b"\r\n0\r\n\r\n"  # the last chunk: nothing is missing


class Transfer(NamedTuple):
    """How many seconds a transfer took, and an export's first byte."""

    seconds: float
    first: float | None = None


def upload(port: int, path: Path, media_type: str, rows: int) -> Transfer:
    """Import a file, and make sure that all its rows were stored."""
    start = perf_counter()
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        with path.open("rb") as file:
            connection.putrequest("POST", "/songs")
            connection.putheader("Content-Type", media_type)
            connection.putheader("Content-Length", str(path.stat().st_size))
            connection.endheaders()
            connection.sock.sendfile(file)
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    seconds = perf_counter() - start
    if answer.status != 201 or json.loads(body)["stored"] != rows:
        raise SystemExit(f"POST /songs of {rows} rows was answered {answer.status}: {body!r:.1000}")
    return Transfer(seconds)


def download(port: int, media_type: str) -> Transfer:
    """Export all songs, and make sure that the answer is whole."""
    head = f"GET /songs HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: {media_type}\r\n\r\n"
    start = perf_counter()
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        connection.sendall(head.encode("ascii"))
        buffer = bytearray(PIECE)
        size = connection.recv_into(buffer)
        first = perf_counter() - start
        if not buffer.startswith(HEAD):
            raise SystemExit(f"GET /songs was answered {bytes(buffer[:size])!r:.1000}")
        tail = b""
        while size:
            tail = (tail + buffer[max(0, size - len(END)) : size])[-len(END) :]
            if tail == END:
                return Transfer(perf_counter() - start, first)
            size = connection.recv_into(buffer)
    raise SystemExit(f"The export as {media_type} was cut off.")


def lines(port: int, path: str, media_type: str) -> int:
    """Count the lines of an export."""
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", path, headers={"Accept": media_type})
        answer = connection.getresponse()
        return sum(piece.count(b"\n") for piece in iter(lambda: answer.read(PIECE), b""))
    finally:
        connection.close()
