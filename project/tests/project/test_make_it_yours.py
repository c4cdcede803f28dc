"""A copy does what `docs/make-it-yours.md` says."""

import json
import os
import re
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import URL

from songbook.config import Settings
from tests.support.copies import ASK, apply, copied_project, copied_repository
from tests.support.databases import spelled
from tests.support.marks import slow
from tests.support.paths import PROJECT, ROOT

PAGE = (ROOT / "docs" / "make-it-yours.md").read_text()
COMPOSE = (ROOT / "docker-compose.yml").read_text()
SONG = {"name": "Blue Monday", "artist": "New Order"}


def run(folder: Path, *command: str, **options: Any) -> str:
    environment = {**os.environ, **options.pop("env", {})}
    environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def statuses(project: Path, url: URL, *requests: tuple[str, str, Any]) -> list[int]:
    """Migrate to what the models are now, send requests; return the statuses of the responses."""
    printed = run(
        project,
        *(sys.executable, "-c", ASK, "drop"),
        env={"DATABASE_URL": spelled(url)},
        input=json.dumps(requests),
    )
    return [status for status, _ in json.loads(printed.splitlines()[-1])]


def remove_accounts(project: Path) -> None:
    """Delete the files that the page names, and change the lines of its diff."""
    [paragraph] = re.findall("### The accounts\n(.*?)change these lines", PAGE, re.DOTALL)
    for name in re.findall("`(app/.*?)`", paragraph):
        (project / name).unlink()
    [diff] = re.findall(r"^```diff\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    apply(diff, project.parent)


@slow
def test_the_name_of_the_service_is_written_in_one_place(tmp_path: Path) -> None:
    [rename] = re.findall(r"^    (sed .* project/app/settings\.py)$", PAGE, re.MULTILINE)
    copy = copied_repository(tmp_path)

    run(copy, "sh", "-c", rename)

    about = json.loads(run(copy / "project", sys.executable, "-m", "app", "openapi"))["info"]
    assert about["title"] == "Jukebox"
    assert "Jukebox: " in run(copy / "project", sys.executable, "-m", "app", "--help")
    code = (copy / "project" / "app").rglob("*.py")
    assert [path for path in code if "Songbook" in path.read_text()] == []


def test_the_page_says_which_database_has_which_name() -> None:
    names = dict(re.findall(r"^\| (Compose|the .*?) \| `(\w+)` \| [A-Zt]", PAGE, re.MULTILINE))
    embedded = (PROJECT / "songbook" / "db" / "embedded" / "__init__.py").read_text()

    assert len(re.findall(rf"\b{names['Compose']}\b", COMPOSE)) == 3
    assert Settings.model_fields["pg_db"].default == names["the default of `PG_DB`"]
    assert f"postgres@/{names['the embedded PostgreSQL']}?host=" in embedded


def test_the_database_of_compose_is_renamed_in_its_file_alone(tmp_path: Path) -> None:
    [rename] = re.findall(r"^    (sed .* docker-compose\.yml)$", PAGE, re.MULTILINE)
    (tmp_path / "docker-compose.yml").write_text(COMPOSE)

    run(tmp_path, "sh", "-c", rename)

    renamed = (tmp_path / "docker-compose.yml").read_text()
    assert renamed.count("jukebox") == 3
    assert renamed.replace("jukebox", "foo") == COMPOSE


@slow
@pytest.mark.processes
@pytest.mark.parametrize("names", [["cities"], ["playlists"], ["playlists", "songs"], ["todos"]])
def test_each_sample_can_go_without_the_others(
    names: list[str], tmp_path: Path, migrated_url: URL
) -> None:
    project = copied_project(tmp_path)
    modules = {path.stem for path in (project / "app" / "resources").glob("[a-z]*.py")}
    for name in names:
        (project / "app" / "resources" / f"{name}.py").unlink()

    requests = [("GET", f"/{each}", None) for each in sorted(modules)]
    answers = statuses(project, migrated_url, *requests)

    assert dict(zip(sorted(modules), answers, strict=True)) == {
        **dict.fromkeys(modules, 200),
        **dict.fromkeys(("playlists", "users"), 401),
        **dict.fromkeys(names, 404),
    }


@slow
@pytest.mark.processes
def test_without_users_a_service_starts_and_gives_no_tokens(
    tmp_path: Path, migrated_url: URL
) -> None:
    project = copied_project(tmp_path)
    remove_accounts(project)
    run(project, sys.executable, "-m", "ruff", "check", "app")

    answers = statuses(
        project,
        migrated_url,
        ("POST", "/songs", SONG),
        ("GET", "/users", None),
        ("POST", "/api/auth/token", {"username": "ada", "password": "x"}),
    )

    assert answers == [201, 404, 404]
    production = {"ENVIRONMENT": "prod", "OAUTH_TOKEN_SECRET": secrets.token_urlsafe(48)}
    run(project, sys.executable, "-c", "import app.main", env=production)


@slow
@pytest.mark.processes
@pytest.mark.parametrize("left", ["auth.router", "CLOSED_WRITES"])
def test_what_needs_users_stops_the_start_of_a_service_without_them(
    left: str, tmp_path: Path
) -> None:
    project = copied_project(tmp_path)
    remove_accounts(project)
    settings = {"CLOSED_WRITES": "true"} if left == "CLOSED_WRITES" else {}
    if left == "auth.router":
        main = project / "app" / "main.py"
        routers = main.read_text().replace("health.router, *", "health.router, auth.router, *")
        main.write_text(f"from songbook import auth\n{routers}")

    with pytest.raises(AssertionError, match=r"TypeError: /\S+ requires an account: pass"):
        run(project, sys.executable, "-c", "import app.main", env=settings)
