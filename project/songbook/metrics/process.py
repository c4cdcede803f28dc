"""What the operating system knows of this process."""

from prometheus_client.process_collector import ProcessCollector

from songbook.metrics.instruments import Counter, Gauge

_CPU = Counter("process_cpu_seconds_total", "User and system CPU time, in seconds.")
_MEMORY = Gauge("process_resident_memory_bytes", "Resident memory, in bytes.")
_FILES = Gauge("process_open_fds", "Open file descriptors.")
_MAX_FILES = Gauge("process_max_fds", "The maximum of open file descriptors.", merge="min")
_START = Gauge(
    "process_start_time_seconds", "The start of the oldest process, as Unix time.", merge="min"
)
_GAUGES = {each.name: each for each in (_MEMORY, _FILES, _MAX_FILES, _START)}

_collector = ProcessCollector(registry=None)
_counted = 0.0


def read_process() -> None:
    """Set the metrics of this process, on Linux; other systems have none."""
    global _counted  # noqa: PLW0603 - like the counter itself
    for family in _collector.collect():
        [sample] = family.samples
        if sample.name == _CPU.name:
            _CPU.inc(by=sample.value - _counted)
            _counted = sample.value
        elif sample.name in _GAUGES:
            _GAUGES[sample.name].set(sample.value)
