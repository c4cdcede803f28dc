"""Other programs read and write files of a service that runs: pandas, polars, requests, httpx."""

import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from sqlalchemy.engine import URL

from tests.support.databases import spelled
from tests.support.marks import slow
from tests.support.paths import PROJECT, ROOT
from tests.support.services import SERVICE
from tests.support.waiting import PATIENCE

# The relative URL of `Link` is one that requests cannot follow; a file is sent as what it is.
MORE = """
import httpx

def walk(get, found=(), after=None):
    answer = get(f"{URL}/songs", params={"limit": 3} | ({"after": after} if after else {}))
    found, cursor = [*found, *answer.json()], answer.headers.get("X-Next-Cursor")
    return walk(get, found, cursor) if cursor else found

for client in (requests, httpx):
    assert [each["id"] for each in walk(client.get)] == list(range(1, 9))
export = requests.get(f"{URL}/songs.csv?escape=formulas&id_gt=7").content
options = {"ignore": "id", "on_error": "abort", "dry_run": "false"}
headers = {"Content-Type": "application/octet-stream"}
stored = httpx.post(f"{URL}/songs.csv", content=export, params=options, headers=headers)
assert stored.json()["stored"] == 1, stored.text
"""


@slow
@pytest.mark.processes
@pytest.mark.timeout(1500)
def test_what_the_document_does_with_other_programs_they_do(
    migrated_url: URL, tmp_path: Path
) -> None:
    document = (ROOT / "docs" / "many-rows.md").read_text()
    [code] = re.findall(r"^```python\n(.*?)^```$", document, re.DOTALL | re.MULTILINE)
    group = ["--group", f"{PROJECT / 'pyproject.toml'}:interop"]
    place = str(tmp_path)
    for command in (["venv", place], ["pip", "install", "--python", place, *group]):
        subprocess.run([sys.executable, "-m", "uv", "--quiet", *command], check=True, timeout=600)

    with SERVICE.serving(DATABASE_URL=spelled(migrated_url)) as service:
        songs = b"name,artist,year\nAuto Rock,Mogwai,2006\nNone,Mogwai,\n"
        headers = {"Content-Type": "text/csv"}
        httpx.post(f"{service.address}/songs.csv", content=songs, headers=headers)
        program = code.replace("http://localhost:8004", service.address) + MORE
        ran = subprocess.run(
            [tmp_path / "bin" / "python", "-c", program],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        stored = httpx.get(f"{service.address}/songs?sort=year,id").json()

    assert ran.returncode == 0, ran.stderr
    assert [each["year"] for each in stored] == [2006, 2006, 2006, 2007, *[None] * 5]
    assert {each["name"] for each in stored[4:]} == {"None"}
