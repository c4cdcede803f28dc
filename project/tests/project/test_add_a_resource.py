"""The commands of docs/add-a-resource.md have the output that the page shows."""

import os
import re
import runpy
import shutil
import signal
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.copies import add_environment, apply, copied_repository
from tests.support.marks import slow
from tests.support.paths import PROJECT, ROOT
from tests.support.processes import Service, ended_at_last

PAGE = (ROOT / "docs" / "add-a-resource.md").read_text()
BLOCKS = re.findall(r"^```(console|diff)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
HERE = "localhost:8004"
FIRST_LINE = (
    f"Songbook is at http://{HERE}, its documentation at http://{HERE}/docs. Ctrl-C stops it.\n"
)

demo = runpy.run_path(str(ROOT / "examples" / "demo.py"))


class Reader:
    """Someone with a clone and two terminals, of which the second one serves."""

    def __init__(self, clone: Path, at_last: ExitStack) -> None:
        self.clone = clone
        self.at_last = at_last
        self.service: Service | None = None
        kept = ("PATH", "HOME", "TMPDIR", "LANG")
        self.environment = {name: os.environ[name] for name in kept if name in os.environ}
        self.environment["LOG_FORMAT"] = "console"  # as in a terminal

    def type(self, command: str) -> str:
        """Return what a terminal shows of a command."""
        if command == "make run":
            return self.serve()
        address = self.service.address.removeprefix("http://") if self.service else HERE
        done = subprocess.run(
            ["sh", "-c", command.replace(HERE, address)],
            cwd=self.clone,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        return done.stdout

    def serve(self) -> str:
        """Serve on another port, after Ctrl-C for what served before; return the line about it."""
        if self.service:
            assert self.service.end(signal.SIGINT).code in {0, -signal.SIGINT}
        self.service = Service(
            *("--no-print-directory", "run"), program=["make"], folder=self.clone, PORT="0"
        )
        self.at_last.enter_context(ended_at_last(self.service))
        self.service.answers(self.service.said())
        return FIRST_LINE


def is_shown(answer: str, shown: str) -> bool:
    """Return whether an answer is the one of the page, in which `…` stands for anything."""
    pattern = re.escape(demo["timeless"](shown)).replace("…", "(?s:.*)")
    return bool(re.fullmatch(pattern, demo["timeless"](answer)))


@slow
@pytest.mark.processes
@pytest.mark.timeout(1500)
def test_the_commands_of_the_tutorial_answer_as_it_shows() -> None:
    different = []

    with ExitStack() as at_last:
        # not a folder of pytest's: PostgreSQL runs in it, and another run would make it private
        place = tempfile.TemporaryDirectory(prefix="songbook-", ignore_cleanup_errors=True)
        clone = copied_repository(Path(at_last.enter_context(place)))
        add_environment(clone)
        checked = PROJECT / ".mypy_cache"
        if checked.is_dir():  # of `make check`: without it mypy takes 16 s of CPU time
            shutil.copytree(checked, clone / "project" / checked.name)
        reader = Reader(clone, at_last)
        for kind, block in BLOCKS:
            if kind == "diff":
                apply(block, clone)
                continue
            for command, shown in demo["session"](f"```console\n{block}```\n"):
                answer = reader.type(command)
                print(f"$ {command}\n{answer}")
                different += [] if is_shown(answer, shown) else [command]

    assert different == []
    assert len(BLOCKS) > 10
