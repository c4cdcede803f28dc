"""The hooks that run before a commit."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.marks import slow
from tests.support.paths import ROOT

pytestmark = [
    pytest.mark.processes,
    pytest.mark.timeout(900),  # nine programs, of which a busy machine makes long ones
]

FAULTS = {
    "end-of-file": ("end.md", "A line without an end"),
    "trailing-whitespace": ("space.md", "A line that ends in a space \n"),
    "check-toml": ("broken.toml", "name = \n"),
    "check-yaml": ("broken.yml", "name: [\n"),
    "typos": ("typo.md", "A lenght.\n"),
    "hadolint": ("Dockerfile", "FROM python\n"),
    "ruff-check": ("project/songbook/unused.py", '"""A module."""\n\nimport json\n'),
    "ruff-format": ("bench/quotes.py", '"""A script."""\n\nNAME = \'a\'\n'),
    "import-floors": ("project/songbook/models/up.py", '"""Up."""\n\nimport songbook.cli as up\n'),
}
"""For each hook a file that it refuses or mends."""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Return a repository of what is, or would be, committed here, with the environment in use."""
    if not ((ROOT / ".git").exists() and shutil.which("git")):
        pytest.skip("this is no clone, or there is no git")
    kept = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in kept.split("\0"):
        if (ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name, follow_symlinks=False)
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "--all")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    return tmp_path


def git(folder: Path, *arguments: str) -> str:
    """Run git, without the settings of its user and of a hook that runs this."""
    environment = {name: value for name, value in os.environ.items() if "GIT_" not in name}
    return subprocess.run(
        ["git", "-c", "core.excludesFile=", *arguments],
        cwd=folder,
        env={**environment, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def run_hooks(clone: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if "GIT_" not in name}
    return subprocess.run(
        [sys.executable, "-m", "pre_commit", "run", "--all-files", "--color=never"],
        cwd=clone,
        env={**environment, "PRE_COMMIT_HOME": str(clone / ".git" / "pre-commit")},
        capture_output=True,
        text=True,
        check=False,
        timeout=800,
    )


@slow
def test_the_hooks_pass_in_a_clean_clone_and_change_nothing(clone: Path) -> None:
    done = run_hooks(clone)

    assert done.returncode == 0, done.stdout
    assert git(clone, "diff") == ""


@slow
def test_every_hook_finds_what_it_is_there_for(clone: Path) -> None:
    for name, content in FAULTS.values():
        (clone / name).write_text(content)
    git(clone, "add", "--all", "--", *(name for name, _ in FAULTS.values()))

    done = run_hooks(clone)

    failed = [
        line.partition(": ")[2]
        for before, line in zip(
            done.stdout.splitlines(), done.stdout.splitlines()[1:], strict=False
        )
        if before.endswith("Failed") and line.startswith("- hook id")
    ]
    assert failed == [*FAULTS], done.stdout
