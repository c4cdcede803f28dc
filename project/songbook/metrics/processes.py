"""The metrics of several processes: each keeps its own in a file of a folder they share.

The file of a process that has ended belongs to the next one, which counts on from there, so that a
counter never falls when a worker is replaced, and no files pile up.
"""

import fcntl
import json
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from io import FileIO
from itertools import count
from pathlib import Path
from typing import Self

from songbook.metrics.instruments import INSTRUMENTS, Family, Labels, Merge, Sample

Snapshot = dict[str, Family]
"""The metrics of a process by name."""

_MERGES: dict[Merge, Callable[[Iterable[float]], float]] = {"sum": sum, "max": max, "min": min}


def snapshot() -> Snapshot:
    """Return the metrics of this process at this moment."""
    return {name: instrument.family() for name, instrument in INSTRUMENTS.items()}


class SharedFile:
    """The file of this process among those of a folder, held until it is closed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock, self._path = _first_free(folder)
        self._written = ""
        _count_on(_read(self._path))

    def publish(self) -> None:
        """Write the samples of this process, if they have changed. Raises OSError."""
        families = [
            [name, *family[:-1], [*family.samples.items()]] for name, family in snapshot().items()
        ]
        text = json.dumps(families)
        os.utime(self._lock.fileno())  # what removes old files from /tmp leaves it
        if text != self._written:
            draft = self._path.with_suffix(".new")
            draft.write_text(text, encoding="utf-8")
            draft.replace(self._path)
            self._written = text

    def close(self) -> None:
        """Leave the file to another process."""
        with suppress(OSError):
            self.publish()
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_snapshots(folder: Path) -> list[Snapshot]:
    """Return what the processes of a folder published; of those that have ended no gauges."""
    return [
        _read(path) if _is_held(path) else _without_gauges(_read(path))
        for path in sorted(folder.glob("*.json"))
    ]


def merged(snapshots: Iterable[Snapshot]) -> Snapshot:
    """Return the metrics of several processes as if they were one."""
    families: dict[str, list[Family]] = {}
    for each in snapshots:
        for name, family in each.items():
            families.setdefault(name, []).append(family)
    return {name: _merge(each) for name, each in families.items()}


def _merge(families: Sequence[Family]) -> Family:
    """Return the first of the families with the samples of all that are like it.

    Those of another version may have another kind, other labels or other buckets.
    """
    first, found = families[0], dict[Labels, list[Sample]]()
    for family in families:
        if _shape(family) == _shape(first):
            for labels, sample in family.samples.items():
                found.setdefault(labels, []).append(sample)
    merge = _MERGES[first.merge]
    return first._replace(
        samples={
            labels: [merge(values) for values in zip(*samples, strict=True)]
            for labels, samples in found.items()
        }
    )


def _shape(family: Family) -> tuple[object, ...]:
    return family.kind, family.labels, family.bounds


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
    """Return what a file has, nothing if it does not exist yet or is of another format."""
    try:
        return {
            name: Family(
                kind, text, tuple(labels), merge, tuple(bounds), {tuple(k): v for k, v in samples}
            )
            for name, kind, text, labels, merge, bounds, samples in json.loads(path.read_bytes())
        }
    except (OSError, ValueError, TypeError):
        return {}


def _without_gauges(samples: Snapshot) -> Snapshot:
    return {name: each for name, each in samples.items() if each.kind != "gauge"}


def _count_on(before: Snapshot) -> None:
    """Add what an earlier process counted to the counters and histograms of this one."""
    for name, family in _without_gauges(before).items():
        if instrument := INSTRUMENTS.get(name):
            instrument.samples = _merge([instrument.family(), family]).samples
