"""The metrics of several processes: counters outlive a process, gauges do not."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from songbook.metrics import Counter, Gauge, Histogram, SharedFile, read_snapshots, snapshot
from songbook.metrics.instruments import INSTRUMENTS
from songbook.metrics.processes import merged


@pytest.fixture
def counter() -> Iterator[Counter]:
    """Give a counter of these tests' own."""
    counter = Counter("test_total", "A test.", ("kind",))
    yield counter
    del INSTRUMENTS[counter.name]


@pytest.fixture
def gauge() -> Iterator[Gauge]:
    """Give a gauge of these tests' own."""
    gauge = Gauge("test_gauge", "A test.", merge="max")
    yield gauge
    del INSTRUMENTS[gauge.name]


@pytest.fixture
def histogram() -> Iterator[Histogram]:
    """Give a histogram of these tests' own."""
    histogram = Histogram("test_seconds", "A test.", bounds=(1, 5))
    yield histogram
    del INSTRUMENTS[histogram.name]


def test_the_files_of_two_processes_add_up(
    tmp_path: Path, counter: Counter, gauge: Gauge, histogram: Histogram
) -> None:
    with SharedFile(tmp_path) as first, SharedFile(tmp_path) as second:
        counter.inc("a", by=2)
        gauge.set(3)
        histogram.observe(0.5)
        first.publish()
        gauge.set(1)
        second.publish()  # a process has one file: here both have what it counted until then
        families = merged(read_snapshots(tmp_path))

        assert families[counter.name].samples == {("a",): [4.0]}
        assert families[gauge.name].samples == {(): [3.0]}
        assert families[histogram.name].samples == {(): [2.0, 0.0, 0.0, 1.0]}


def test_the_next_process_counts_on_from_one_that_ended(
    tmp_path: Path, counter: Counter, gauge: Gauge, histogram: Histogram
) -> None:
    with SharedFile(tmp_path):
        counter.inc("a")
        gauge.set(7)
        histogram.observe(2)
    counter.samples.clear()
    histogram.samples[()] = [0.0] * 4

    [left] = read_snapshots(tmp_path)
    assert left[counter.name].samples == {("a",): [1.0]}
    assert gauge.name not in left

    counter.inc("a")
    with SharedFile(tmp_path):
        assert snapshot()[counter.name].samples == {("a",): [2.0]}
        assert snapshot()[histogram.name].samples == {(): [0.0, 1.0, 0.0, 2.0]}
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["0.json", "0.lock"]


@pytest.mark.parametrize("text", ['[["test_total", "counter"', '[["test_total", 1]]', "[1]", "1"])
def test_a_file_that_was_cut_off_or_of_another_format_counts_nothing(
    text: str, tmp_path: Path
) -> None:
    (tmp_path / "0.json").write_text(text)

    with SharedFile(tmp_path):
        assert read_snapshots(tmp_path) == [{}]


def test_what_another_version_counted_by_other_labels_is_left_out(
    tmp_path: Path, counter: Counter
) -> None:
    with SharedFile(tmp_path):
        counter.inc("a")
    counter.samples.clear()
    counter.labels = ("kind", "outcome")

    with SharedFile(tmp_path):
        counter.inc("a", "done")
        assert counter.samples == {("a", "done"): [1.0]}


def test_a_file_in_use_does_not_grow_old(tmp_path: Path) -> None:
    with SharedFile(tmp_path) as file:
        os.utime(tmp_path / "0.lock", (0, 0))
        file.publish()
        assert (tmp_path / "0.lock").stat().st_mtime > 0


def test_a_value_is_in_the_first_bucket_that_it_does_not_exceed(histogram: Histogram) -> None:
    for value in (0, 1, 1.1, 5, 6):
        histogram.observe(value)

    assert histogram.samples == {(): [2.0, 2.0, 1.0, 13.1]}


def test_two_metrics_cannot_have_one_name(counter: Counter) -> None:
    with pytest.raises(ValueError, match="there are two metrics test_total"):
        Counter(counter.name, "Another.")
