"""The files for editors, for GitHub and for make say what is there."""

import json
import re
import subprocess
from itertools import pairwise
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped] # the stubs would be for this file alone

from songbook.config import Settings
from tests.support.paths import PROJECT, ROOT

MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
WORKFLOW: dict[str, Any] = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
JOBS: dict[str, dict[str, Any]] = WORKFLOW["jobs"]
SETTINGS = ["settings", "launch", "extensions"]


def commands() -> list[str]:
    """Return what the workflow runs."""
    return [step["run"] for job in JOBS.values() for step in job["steps"] if "run" in step]


def vscode(name: str) -> Any:
    return json.loads((ROOT / ".vscode" / f"{name}.json").read_text())


def test_the_help_of_make_lists_every_target() -> None:
    told = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    listed = [line.split()[1] for line in told.splitlines()]

    assert set(listed) == TARGETS
    assert all(len(line.split()) > 2 for line in told.splitlines())


def test_every_target_that_makes_no_file_is_declared_so() -> None:
    declared = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)

    assert declared
    assert set(declared[1].split()) == TARGETS


def test_the_workflow_calls_the_verbs_that_people_call() -> None:
    called = {verb for line in commands() for verb in re.findall(r"\bmake ([a-z-]+)", line)}

    assert called <= TARGETS
    assert {"install", "check", "test"} <= called
    assert ".ci/run" in commands()
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def test_the_workflow_ends_in_one_job_that_needs_all_others() -> None:
    last = JOBS["required-checks-pass"]

    assert last["needs"] == [name for name in JOBS if name != "required-checks-pass"]
    assert last["if"] == "always()"  # skipped counts as passed
    assert last["steps"][0]["run"].count("success") == len(last["needs"])


def test_the_workflow_tests_every_version_of_python_that_is_supported() -> None:
    [lowest] = re.findall(r'requires-python = ">=(.*)"', (PROJECT / "pyproject.toml").read_text())
    [image] = re.findall(r"python:(\d\.\d+)", (PROJECT / "Dockerfile").read_text())
    tested = [
        *(step["with"]["python-version"] for step in JOBS["everything"]["steps"][1:2]),
        *JOBS["test"]["strategy"]["matrix"]["python"],
    ]

    assert tested[0] == lowest
    assert image in tested
    minors = [int(version.partition(".")[2]) for version in tested]
    assert all(after - before == 1 for before, after in pairwise(minors))


def test_the_workflow_may_only_read_and_never_runs_for_hours() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert all(job["timeout-minutes"] <= 60 for job in JOBS.values())


def test_dependabot_looks_where_something_is_pinned() -> None:
    watched = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text())
    places = {
        (each["package-ecosystem"], each["directory"].strip("/")) for each in watched["updates"]
    }

    assert places == {
        *(("pip", "project"), ("pip", "bench/peers"), ("npm", "bench/peers")),
        *(("npm", "tools/clients"), ("npm", "tools/openapi"), ("npm", "tools/swagger-ui")),
        *(("docker", "project"), ("docker-compose", ""), ("github-actions", "")),
    }
    for place in ("project/requirements.txt", "bench/peers/requirements.txt"):
        assert (ROOT / place).is_file()
    for place in (
        "bench/peers/package.json",
        "tools/openapi/package.json",
        "tools/clients/package.json",
        "tools/swagger-ui/package.json",
    ):
        assert (ROOT / place).is_file()
    assert (PROJECT / "Dockerfile").is_file()


@pytest.mark.parametrize("name", SETTINGS)
def test_the_editor_s_files_name_only_folders_that_are_there(name: str) -> None:
    content = (ROOT / ".vscode" / f"{name}.json").read_text()

    assert isinstance(vscode(name), dict)
    for path in re.findall(r"\$\{workspaceFolder\}/([^\"]*)", content):
        assert path.startswith(".venv/") or (ROOT / path).exists()


def test_the_editor_starts_modules_in_the_project() -> None:
    for launch in vscode("launch")["configurations"]:
        assert launch["cwd"] == "${workspaceFolder}/project"
        assert (
            launch["module"] == "pytest" or (PROJECT / launch["module"] / "__main__.py").is_file()
        )


def test_a_development_container_installs_with_make_what_the_editor_uses() -> None:
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    [image] = re.findall(r"python:\d\.\d+", (PROJECT / "Dockerfile").read_text())

    assert container["image"] == image  # not the slim one, which has neither make nor git
    assert re.findall("make ([a-z-]+)", container["postCreateCommand"]) == ["install"]
    assert container["forwardPorts"] == [Settings.model_fields["port"].default]
    extensions = container["customizations"]["vscode"]["extensions"]
    assert extensions == vscode("extensions")["recommendations"]
