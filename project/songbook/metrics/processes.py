"""The metrics of several processes: each keeps its own in a file of a folder they share.

The file of a process that has ended belongs to the next one, which counts on from there, so that a
counter never falls when a worker is replaced, and no files pile up.
"""

import fcntl
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from io import FileIO
from itertools import count
from pathlib import Path
from typing import Self

from songbook.metrics.instruments import INSTRUMENTS, Gauge, Labels, Merge, Sample

Snapshot = dict[str, dict[Labels, Sample]]
"""The samples of a process by the names of their instruments."""


_MERGES: dict[Merge, Callable[[Iterable[float]], float]] = {"sum": sum, "max": max, "min": min}


def snapshot() -> Snapshot:
    """Return the samples of this process at this moment."""
    return {
        name: {labels: [*sample] for labels, sample in [*instrument.samples.items()]}
        for name, instrument in INSTRUMENTS.items()
    }


class SharedFile:
    """The file of this process among those of a folder, held until it is closed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock, self._path = _first_free(folder)
        self._written = ""
        _count_on(_read(self._path))

    def publish(self) -> None:
        """Write the samples of this process, if they have changed. Raises OSError."""
        text = json.dumps(
            {name: list(samples.items()) for name, samples in snapshot().items() if samples}
        )
        if text != self._written:
            draft = self._path.with_suffix(".new")
            draft.write_text(text, encoding="utf-8")
            draft.replace(self._path)
            self._written = text

    def others(self) -> list[Snapshot]:
        """Return what the other processes published; of those that have ended no gauges."""
        return read_snapshots(self._folder, but=self._path)

    def close(self) -> None:
        """Leave the file to another process."""
        with suppress(OSError):
            self.publish()
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_snapshots(folder: Path, *, but: Path | None = None) -> list[Snapshot]:
    """Return what the processes of a folder published; of those that have ended no gauges."""
    snapshots = []
    for path in sorted(folder.glob("*.json")):
        if path != but:
            each = _read(path)
            snapshots.append(each if _is_held(path) else _without_gauges(each))
    return snapshots


def merged(snapshots: Iterable[Snapshot]) -> Iterator[tuple[str, dict[Labels, Sample]]]:
    """Return the samples of several processes as if they were one."""
    every = list(snapshots)
    for name, instrument in INSTRUMENTS.items():
        merge = _MERGES[instrument.merge]
        found: dict[Labels, list[Sample]] = {}
        for each in every:
            for labels, sample in each.get(name, {}).items():
                found.setdefault(labels, []).append(sample)
        yield (
            name,
            {
                labels: [merge(values) for values in zip(*samples, strict=True)]
                for labels, samples in found.items()
            },
        )


def _first_free(folder: Path) -> tuple[FileIO, Path]:
    """Lock the first file of a folder that no process holds. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for number in count():
        path = folder / f"{number}.json"
        lock = FileIO(os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600), "r+")
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock, path
        lock.close()
    raise AssertionError("there is always another number")


def _is_held(path: Path) -> bool:
    """Return whether a process holds a file."""
    with suppress(OSError), path.with_suffix(".lock").open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _read(path: Path) -> Snapshot:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # a process that has published nothing yet
        return {}
    return {
        name: {tuple(labels): sample for labels, sample in samples}
        for name, samples in content.items()
    }


def _without_gauges(samples: Snapshot) -> Snapshot:
    return {
        name: each
        for name, each in samples.items()
        if name in INSTRUMENTS and not isinstance(INSTRUMENTS[name], Gauge)
    }


def _count_on(before: Snapshot) -> None:
    """Add what an earlier process counted to the counters and histograms of this one."""
    for name, samples in _without_gauges(before).items():
        own = INSTRUMENTS[name].samples
        for labels, sample in samples.items():
            present = own.get(labels, [0.0] * len(sample))
            if len(present) == len(sample):  # another version may have had other buckets
                own[labels] = [a + b for a, b in zip(present, sample, strict=True)]
