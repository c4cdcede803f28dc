"""A real Prometheus scrapes services as the examples say, and evaluates all expressions."""

import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy.engine import URL

from tests.support.databases import spelled
from tests.support.faults import children_of
from tests.support.marks import slow
from tests.support.paths import ROOT
from tests.support.processes import Service, ended_at_last, free_port
from tests.support.promql import ALERTS, ALERTS_FILE, expressions
from tests.support.services import SERVICE
from tests.support.waiting import wait_until

pytestmark = [
    pytest.mark.processes,
    slow,
    pytest.mark.skipif(
        not (shutil.which("prometheus") and shutil.which("promtool")),
        reason="there is no Prometheus here: Debian's package `prometheus` has it",
    ),
]

CONFIG = (ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text()
TOKEN = "uQ3vX9wKpL7mZ2rT8yB4nC6dF1gH5jS0"
REQUESTS = "songbook_http_request_duration_seconds_count"
SHOWN = {
    *("Instances that are up A", "Requests a second A", "p95 A", "Checks that fail A"),
    *("Requests by route A", "Requests by status A", "Connections of clients A", "Durations A"),
    *("p50 by route A", "p99 by route A", "Connections in use A", "In use, and size B"),
    *("Requests that wait A", "Statements a second A", "Statements per request A", "Checks A"),
    *("Migrations that the database lacks A", "Clock, difference from the database A", "CPU A"),
    *("Memory A", "Open files A", "Workers A", "Time since the start A", "Versions A"),
}
"""The panels that have something to show after a few requests."""


def configured(folder: Path, port: str = "1", main_port: str = "1") -> Path:
    """Write the example for services on this machine; return its path."""
    shutil.copy(ALERTS_FILE, folder)
    (folder / "token").write_text(TOKEN)
    changes = {
        "songbook.example.com:9464": f"127.0.0.1:{port}",
        "songbook.example.com:443": f"127.0.0.1:{main_port}",
        "scheme: https": "scheme: http",
        "/etc/prometheus/songbook_token": str(folder / "token"),
        "interval: 15s": "interval: 2s",  # which bounds the time for a scrape, too
    }
    text = CONFIG
    for shown, used in changes.items():
        assert shown in text
        text = text.replace(shown, used)
    (folder / "prometheus.yml").write_text(text)
    return folder / "prometheus.yml"


def promtool(*arguments: str) -> None:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_finds_the_examples_valid(tmp_path: Path) -> None:
    promtool("check", "config", str(configured(tmp_path)))
    promtool("check", "rules", "--lint-fatal", str(ALERTS_FILE))


def test_the_alerts_fire_when_they_should_and_only_then(tmp_path: Path) -> None:
    shutil.copy(ALERTS_FILE, tmp_path)
    shutil.copy(Path(__file__).with_name("alerts_test.yml"), tmp_path)
    promtool("test", "rules", str(tmp_path / "alerts_test.yml"))


class Prometheus:
    """The HTTP API of a Prometheus."""

    def __init__(self, address: str) -> None:
        self._api = f"{address}/api/v1"

    def read(self, path: str, **params: str) -> Any:
        """Return the data of an answer, which must be a success without a warning."""
        answer = httpx.get(f"{self._api}{path}", params=params).json()
        assert (answer["status"], answer.get("warnings")) == ("success", None), answer
        return answer["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the time series that an expression has now."""
        return list(self.read("/query", query=expression)["result"])

    def count(self, expression: str) -> float:
        """Return the value of an expression with one time series, 0 without any."""
        return sum(float(each["value"][1]) for each in self.query(expression))

    def requests(self) -> Counter[str]:
        """Return the requests that all services counted, by route and status."""
        found = self.query(f'sum by (route, status) ({REQUESTS}{{route!~"/(metrics|ping)"}})')
        return Counter(
            {
                f"{each['metric'].get('route', '')} {each['metric']['status']}": int(
                    each["value"][1]
                )
                for each in found
            }
        )


@contextmanager
def prometheus(config: Path) -> Iterator[Prometheus]:
    """Run Prometheus with a configuration."""
    address = f"127.0.0.1:{free_port()}"
    service = Service(
        f"--config.file={config}",
        f"--storage.tsdb.path={config.parent / 'data'}",
        f"--web.listen-address={address}",
        program=("prometheus",),
    )
    with ended_at_last(service):
        service.answers(f"http://{address}")
        yield Prometheus(f"http://{address}")


ROUTES = {
    "/songs": "/songs",
    "/songs/4711": "/songs/{id}",
    "/songs?limit=no": "/songs",
    "/readyz": "/readyz",
    "/nothing": "",
}
"""Paths and their routes."""


def send(service: Service) -> Counter[str]:
    """Send GET requests to all paths; return them as Prometheus has them."""
    sent = Counter[str]()
    for path, route in ROUTES.items():
        for _ in range(5):
            sent[f"{route} {httpx.get(f'{service.address}{path}').status_code}"] += 1
    assert {"/songs 200", "/songs 422", "/songs/{id} 404", " 404"} < set(sent)
    return sent


@pytest.mark.timeout(900)  # six processes, on a machine that may be busy
def test_prometheus_sums_workers_and_services_and_evaluates_every_expression(
    migrated_url: URL, tmp_path: Path
) -> None:
    port = str(free_port())
    with ExitStack() as stack:
        given = {"DATABASE_URL": spelled(migrated_url), "ACCESS_LOG": "false"}
        serve, enter = SERVICE.serving, stack.enter_context
        two_workers = enter(serve("--workers", "2", METRICS_PORT=port, **given))
        alone = enter(serve(METRICS_TOKEN=TOKEN, **given))
        assert httpx.get(f"{two_workers.address}/metrics").status_code == 404
        assert httpx.get(f"{alone.address}/metrics").status_code == 401
        sent = send(two_workers) + send(two_workers) + send(alone)
        main_port = alone.address.rpartition(":")[2]
        server = enter(prometheus(configured(tmp_path, port, main_port)))

        wait_until(lambda: server.requests() == sent)
        wait_until(lambda: server.count('sum(up{job="songbook"})') == 2)
        wait_until(lambda: server.count("sum(songbook_info)") == 3)
        wait_until(lambda: server.query(f"rate({REQUESTS}[1m])"))
        panels = expressions()
        wait_until(lambda: all(server.query(panels[place]) for place in SHOWN))
        assert all(server.read("/query", query=each) for each in panels.values())
        [group] = server.read("/rules")["groups"]
        assert {rule["name"] for rule in group["rules"]} == {rule["alert"] for rule in ALERTS}
        assert {rule["health"] for rule in group["rules"]} <= {"ok", "unknown"}

        replace_workers(two_workers)
        sent += send(two_workers)
        wait_until(lambda: server.requests() == sent)
        alone.end(signal.SIGTERM)
        wait_until(lambda: server.query('ALERTS{alertname="SongbookDown"}'))


def replace_workers(service: Service) -> None:
    """Replace the workers one after the other, and wait for the end of those before."""
    before = set(children_of(service.process.pid))
    service.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(set(children_of(service.process.pid)) & before) <= 1)
