"""Many rows in one body, and the report on them."""

import csv
import io
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from httpx import AsyncClient, Response

from songbook.http.media_types import CSV, NDJSON
from tests.support.asserts import assert_headers, assert_problem

FILES = {
    CSV: b"name,artist,year\na,b,1\nc,d,\n",
    NDJSON: b'{"name":"a","artist":"b","year":1}\n{"name":"c","artist":"d","year":null}\n',
}


each_format = pytest.mark.parametrize("kind", [CSV, NDJSON])


def written(rows: Sequence[dict[str, Any]], kind: str, errors: str = "strict") -> bytes:
    """Return rows in a format, as any other program would write them."""
    if kind == NDJSON:
        return "".join(f"{json.dumps(row)}\n" for row in rows).encode()
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, rows[0].keys())
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return file.getvalue().encode(errors=errors)


def _cell(value: Any) -> str:
    """Return a value of JSON as CSV has it: null as nothing, and texts as they are."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


async def send_rows(
    client: AsyncClient,
    content: bytes | AsyncIterator[bytes],
    query: str = "",
    *,
    path: str = "/songs",
    kind: str = CSV,
    **headers: str,
) -> Response:
    """Send many rows."""
    sent = {"Content-Type": kind, **headers}
    return await client.post(f"{path}{query}", content=content, headers=sent)


def report_of(answer: Response, status: int = 201) -> dict[str, Any]:
    """Assert the status of an answer that has a report; return that."""
    assert answer.status_code == status, answer.text
    assert_headers(answer)
    if status < 300:
        assert answer.headers["content-type"] == "application/json"
        assert "location" not in answer.headers
        report: dict[str, Any] = answer.json()
    else:
        report = assert_problem(answer, status)["report"]
    assert list(report) == ["read", "stored", "skipped", "refused", "refusals"]
    return report


def counts(report: dict[str, Any]) -> tuple[int, int, int, int]:
    """Return how many rows were read, stored, skipped and refused."""
    read, stored, skipped, refused, _ = report.values()
    return read, stored, skipped, refused


def refusals(report: dict[str, Any]) -> list[tuple[int, str, str]]:
    """Return where the refused rows are, and which rules they broke."""
    assert all(each["detail"] for each in report["refusals"])
    return [(each["line"], each["pointer"], each["type"]) for each in report["refusals"]]


async def stored_songs(client: AsyncClient) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = (await client.get("/songs?limit=1000")).json()
    return listed
