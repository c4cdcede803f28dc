"""`python -m app doctor`, on a service that was set up a moment ago."""

from pathlib import Path

import pytest

from tests.support.marks import slow
from tests.support.services import SERVICE

pytestmark = [slow, pytest.mark.processes]

SECRET = "k3S8-wq0Zr5NfT1xYb7LuE9cVh2Ma6Dg"


def test_a_fresh_service_is_healthy(migrated_folder: Path) -> None:
    settings = {
        "DATABASE_URL": "",
        "POSTGRES_DATA": str(migrated_folder),
        "OAUTH_TOKEN_SECRET": SECRET,
        "IMPORT_BYTES": "1024",
    }

    done = SERVICE.run("doctor", "--strict", check=False, **settings)

    assert done.returncode == 0, done.stdout + done.stderr
    *lines, summary = done.stdout.splitlines()
    groups = ["Settings", "Revisions", "Disk", "Database", "Schema", "Role", "Statistics"]
    assert [line for line in lines if not line.startswith("  ok      ")] == groups
    assert summary == f"{len(lines) - len(groups)} ok, 0 warnings, 0 failures."
    assert SECRET not in done.stdout + done.stderr


def test_a_warning_counts_as_a_failure_if_it_is_strict(migrated_folder: Path) -> None:
    settings = {"DATABASE_URL": "", "POSTGRES_DATA": str(migrated_folder)}
    settings["IMPORT_BYTES"] = "1024"

    done = SERVICE.run("doctor", "--strict", check=False, **settings)

    assert done.returncode == 1
    assert "  warning OAUTH_TOKEN_SECRET is missing" in done.stdout
    assert done.stdout.endswith(" ok, 1 warning, 0 failures.\n")
