"""Several workers: how they are drained, replaced, and started again, with real processes."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.deploys import PING, Draining, asked, ended, tiny
from tests.support.faults import children_of
from tests.support.marks import slow
from tests.support.processes import Service, ended_at_last, free_port
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.processes, slow]


@contextmanager
def two_workers(drain_seconds: float) -> Iterator[tuple[Draining, set[int]]]:
    """Serve with two workers; give their pids when both serve."""
    with tiny(drain_seconds, WORKERS="2") as served:
        pids: set[int] = set()
        while len(pids) < 2:
            pids.add(int(served.ask(PING).body))
        yield served, pids


def is_running(pid: int) -> bool:
    """Tell whether a process lives; a child of nobody stays a zombie where no init reaps it."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_all_workers_drain_and_end_with_their_parent() -> None:
    with two_workers(5) as (served, pids):
        idle = served.kept()
        begun = served.signal()
        wait_until(lambda: served.ask(PING).headers["Connection"] == "close")
        assert ended(idle) >= begun + 5
        assert served.code() == 0
        assert not any(map(is_running, pids))


@pytest.mark.parametrize("numbers", [[signal.SIGINT], [signal.SIGTERM, signal.SIGTERM]])
def test_a_second_signal_and_an_interrupt_end_the_drain_of_workers(
    numbers: list[signal.Signals],
) -> None:
    with two_workers(300) as (served, pids):
        *first, last = numbers
        for number in first:
            served.signal(number)
            wait_until(lambda: served.ask(PING).headers["Connection"] == "close")
        served.signal(last)
        assert served.code() == 0
        assert not any(map(is_running, pids))


@pytest.mark.timeout(240)
def test_workers_are_replaced_one_after_the_other_and_no_request_is_lost() -> None:
    answers: list[int] = []

    def ask() -> None:
        while not stopped.is_set():
            # a worker may be seen by no client that keeps its connection
            with served.connect() as connection:
                for _ in range(10):
                    reply = asked(connection)
                    answers.append(reply.status)
                    pids.add(int(reply.body or 0))
                    if reply.headers["Connection"] == "close":
                        break
                    stopped.wait(0.005)  # four that never pause would starve the new workers

    stopped = threading.Event()
    # a client that waits for its turn for longer would lose a connection that it did not use
    with two_workers(5) as (served, old), ThreadPoolExecutor() as clients:
        pids = set(old)
        asking = [clients.submit(ask) for _ in range(4)]
        served.signal(signal.SIGHUP)
        try:
            wait_until(lambda: len(pids) >= 4 and not any(map(is_running, old)), 120)
        finally:
            stopped.set()
        for each in asking:
            each.result()
        served.signal(signal.SIGINT)
        assert served.code() == 0

    assert set(answers) == {200}


def test_a_worker_that_was_killed_is_started_again() -> None:
    with two_workers(0) as (served, pids):
        os.kill(pids.pop(), signal.SIGKILL)
        wait_until(lambda: int(served.ask(PING).body or 0) not in {0, *pids})
        assert len(children_of(served.service.process.pid)) >= 2


def test_the_workers_of_a_killed_parent_end() -> None:
    with two_workers(300) as (served, pids):
        served.signal(signal.SIGKILL)
        begun = time.monotonic()
        wait_until(lambda: not any(map(is_running, pids)))
        assert time.monotonic() - begun < 20
        assert served.is_closed()
        served.code()


def test_workers_that_die_at_once_end_the_service_with_a_sentence() -> None:
    service = Service("tests.support.dying", PORT=str(free_port()), WORKERS="2")
    with ended_at_last(service):
        _, log = service.process.communicate(timeout=55)

    assert service.process.returncode == 1
    assert log.count("Worker died, another starts") in range(9, 19)
    assert log.endswith("dying: a worker died 10 times in a row after its start.\n")
