"""The port of the metrics: what a client of it sends neither fails nor is in the log."""

import socket
import struct

import httpx
import pytest

from songbook.metrics import serve_metrics, snapshot
from tests.support.processes import free_port


def test_a_client_that_goes_or_asks_for_an_unknown_version_is_no_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    port = free_port()
    stop = serve_metrics("127.0.0.1", port, lambda: [snapshot()])
    with socket.create_connection(("127.0.0.1", port)) as reset:
        reset.sendall(b"GET /met")
        reset.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    accept = "application/openmetrics-text; version=x"
    answer = httpx.get(f"http://127.0.0.1:{port}/metrics", headers={"Accept": accept})
    stop()

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert "songbook_log_messages_total" in answer.text
    assert capsys.readouterr().err == ""
