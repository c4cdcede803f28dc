"""The metrics as Prometheus reads them."""

from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import Any

from prometheus_client import make_wsgi_app, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

from songbook.metrics.instruments import Family, Sample
from songbook.metrics.processes import Snapshot, merged


class _Collector(Collector):
    def __init__(self, read: Callable[[], Iterable[Snapshot]]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """Return the metric families of all processes."""
        for name, family in merged(self._read()).items():
            yield _metric(name, family)


def registry_of(read: Callable[[], Iterable[Snapshot]]) -> CollectorRegistry:
    """Return a registry of prometheus-client with what `read` returns, the metrics by process."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(read))
    return registry


def expose(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """Return the metrics and their media type, which the header `Accept` chooses."""
    encode, media_type = choose_encoder(_checked(accept))
    return encode(registry), media_type


def serve_metrics(
    host: str, port: int, read: Callable[[], Iterable[Snapshot]]
) -> Callable[[], None]:
    """Serve the metrics in a thread; return the function that stops it. Raises OSError."""
    registry = registry_of(read)
    expose_to = make_wsgi_app(registry)

    def respond(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        accept = _checked(environ.get("HTTP_ACCEPT", ""))
        return expose_to({**environ, "HTTP_ACCEPT": accept}, start_response)

    server, thread = start_http_server(port, host, registry)
    server.set_app(respond)
    # A client that goes away is no error; Python would write a traceback to stderr.
    server.handle_error = _ignore  # type: ignore[method-assign]

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop


def _checked(accept: str) -> str:
    """Return the header `Accept`, empty if prometheus-client fails at a version in it."""
    try:
        choose_encoder(accept)
    except TypeError:
        return ""
    return accept


def _ignore(request: object, client_address: object) -> None:
    """Ignore that the connection of a client failed."""
    del request, client_address


def _metric(name: str, family: Family) -> Metric:
    if family.kind == "histogram":
        histogram = HistogramMetricFamily(name, family.help, labels=family.labels)
        for labels, sample in family.samples.items():
            histogram.add_metric(labels, _buckets(family, sample), sample[-1])
        return histogram
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric: CounterMetricFamily | GaugeMetricFamily = kind(name, family.help, labels=family.labels)
    for labels, [value] in family.samples.items():
        metric.add_metric(labels, value)
    return metric


def _buckets(family: Family, sample: Sample) -> list[tuple[str, float]]:
    """Return the counts of all values up to each bound."""
    names = [*map(str, family.bounds), "+Inf"]
    return list(zip(names, accumulate(sample[:-1]), strict=True))
