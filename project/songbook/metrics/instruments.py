"""Counters, gauges and histograms of a process.

They are module constants where they are counted, as with prometheus-client, whose own take ten
times as long as the read of a dictionary, on the path of every request.
"""

from bisect import bisect_left
from collections.abc import Iterable
from typing import Literal, NamedTuple

Labels = tuple[str, ...]
"""The values of the labels, in the order of their names."""

Sample = list[float]
"""The only value of a counter or a gauge; of a histogram the counts by bucket, and the sum."""

Kind = Literal["counter", "gauge", "histogram"]
Merge = Literal["sum", "max", "min"]

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""The upper bounds of buckets of durations."""


class Family(NamedTuple):
    """An instrument and its samples at a moment."""

    kind: Kind
    help: str
    labels: Labels
    """The names of the labels."""
    merge: Merge
    """How the values of several processes become one."""
    bounds: tuple[float, ...]
    """The upper bounds of the buckets of a histogram."""
    samples: dict[Labels, Sample]


INSTRUMENTS: "dict[str, Instrument]" = {}
"""All instruments of the process by name."""


class Instrument:
    """A metric of this process, by the values of its labels.

    The name and the help are those of the exposition format of Prometheus. Raises ValueError for a
    name that another instrument has.
    """

    kind: Kind
    merge: Merge = "sum"
    bounds: tuple[float, ...] = ()

    def __init__(self, name: str, help: str, labels: Iterable[str] = ()) -> None:
        if name in INSTRUMENTS:
            raise ValueError(f"there are two metrics {name}")
        INSTRUMENTS[name] = self
        self.name, self.help, self.labels = name, help, tuple(labels)
        self.samples: dict[Labels, Sample] = {}
        if not self.labels:
            self.samples[()] = self._new()

    def family(self) -> Family:
        """Return the samples of this moment."""
        samples = {labels: [*sample] for labels, sample in [*self.samples.items()]}
        return Family(self.kind, self.help, self.labels, self.merge, self.bounds, samples)

    def _new(self) -> Sample:
        return [0.0]


class Counter(Instrument):
    """A number that only grows; its name ends with `_total`."""

    kind = "counter"

    def inc(self, *labels: str, by: float = 1.0) -> None:
        """Count, with the values of the labels in the order of their names."""
        try:
            self.samples[labels][0] += by
        except KeyError:
            self.samples[labels] = [by]


class Gauge(Instrument):
    """A number that is set, and ends with its process."""

    kind = "gauge"

    def __init__(
        self, name: str, help: str, labels: Iterable[str] = (), *, merge: Merge = "sum"
    ) -> None:
        super().__init__(name, help, labels)
        self.merge = merge

    def set(self, value: float, *labels: str) -> None:
        """Set the value."""
        self.samples[labels] = [value]


class Histogram(Instrument):
    """The distribution of values over buckets; `bounds` are the upper bounds, without infinity."""

    kind = "histogram"

    def __init__(
        self, name: str, help: str, labels: Iterable[str] = (), *, bounds: Iterable[float] = SECONDS
    ) -> None:
        self.bounds = tuple(bounds)
        super().__init__(name, help, labels)

    def observe(self, value: float, *labels: str) -> None:
        """Count a value in its bucket."""
        try:
            sample = self.samples[labels]
        except KeyError:
            sample = self.samples[labels] = self._new()
        sample[bisect_left(self.bounds, value)] += 1
        sample[-1] += value

    def _new(self) -> Sample:
        return [0.0] * (len(self.bounds) + 2)


REFUSALS = Counter(
    "songbook_refusals_total",
    "Requests and connections that a bound ended, by its setting or name.",
    ("bound",),
)
"""Counted where a bound is."""
