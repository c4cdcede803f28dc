"""The wheel of the library, built once for the tests of a module."""

import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from tests.support.paths import PROJECT
from tests.support.waiting import PATIENCE

BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
SETTINGS = tomllib.loads((PROJECT / "pyproject.toml").read_text())


def setuptools_is_older_than(needed: int) -> bool:
    """Tell whether no setuptools is installed that reads pyproject.toml."""
    try:
        return int(version("setuptools").partition(".")[0]) < needed
    except PackageNotFoundError:
        return True


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel in a copy, without the network; return its path."""
    [backend] = SETTINGS["build-system"]["requires"]
    if setuptools_is_older_than(int(backend.partition(">=")[2])):
        pytest.skip(f"{backend} is not installed")
    folder = tmp_path_factory.mktemp("wheel")
    passed_over = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "*.egg-info")
    shutil.copytree(PROJECT, folder / "project", ignore=passed_over)
    subprocess.run(
        [sys.executable, "-c", BUILD, str(folder)],
        cwd=folder / "project",
        capture_output=True,
        check=True,
        timeout=PATIENCE,
    )
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    """Return a folder with what a wheel of pure Python installs."""
    folder = wheel.parent / "installed"
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(folder)
    return folder
