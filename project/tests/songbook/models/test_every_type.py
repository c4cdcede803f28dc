"""Values of every type: what goes in comes back, whichever way it takes, and nothing else does."""

import json
from typing import Any

import pytest
from httpx import AsyncClient
from hypothesis import Phase, given, settings
from sqlalchemy import text

from songbook.db.database import Database
from songbook.http.media_types import CSV, NDJSON
from songbook.models.field_types import FieldType
from songbook.models.fields import is_nullable
from tests.support.asserts import assert_problem
from tests.support.marks import slow
from tests.support.reports import counts, each_format, refusals, report_of, send_rows, written
from tests.support.samples import SAMPLES, TYPES, SampleCreate
from tests.support.values import extremes, invalid, numbered, shown

pytestmark = pytest.mark.long

Row = dict[str, Any]

PATH = "/samples"
ROWS = 1000


def as_json(sample: Row) -> Row:
    """Return a sample as JSON has it."""
    return {name: shown(value) for name, value in sample.items()}


def body(**given: Any) -> Row:
    """Return a sample as JSON has it, with these values."""
    return as_json({name: numbered(type_, name, 1) for name, type_ in TYPES.items()}) | given


def generated(number: int) -> list[Row]:
    """Return samples as JSON has them; the first have the extreme values of each field."""
    found = [
        body(**{name: shown(value)})
        for name, type_ in TYPES.items()
        for value in (None, *extremes(type_))
    ]

    @settings(max_examples=number - len(found), phases=[Phase.generate], database=None)
    @given(sample=SAMPLES)
    def collect(sample: Row) -> None:
        found.append(as_json(sample))

    collect()
    return found


async def exported(client: AsyncClient, kind: str) -> bytes:
    """Return all samples in a format."""
    answer = await client.get(f"{PATH}?sort=id", headers={"Accept": kind})
    assert answer.status_code == 200
    return answer.content


async def stored(client: AsyncClient) -> list[Row]:
    """Return all samples as JSON has them, without their ids."""
    lines = (await exported(client, NDJSON)).splitlines()
    return [{name: json.loads(line)[name] for name in TYPES} for line in lines]


async def clear(database: Database) -> None:
    """Delete all samples."""
    async with database.engine.begin() as connection:
        await connection.execute(text("TRUNCATE sample"))


@settings(max_examples=20)
@given(sample=SAMPLES)
async def test_the_fields_of_a_body_come_back_as_they_were_sent(
    sample_client: AsyncClient, sample: Row
) -> None:
    sent = as_json(sample)

    created = await sample_client.post(PATH, json=sent)
    read = await sample_client.get(created.headers["location"])

    assert created.status_code == 201, created.text
    assert read.json() == created.json() == {**sent, "id": created.json()["id"]}


@slow
async def test_many_rows_come_back_as_they_were_sent_and_so_does_their_export(
    sample_client: AsyncClient, sample_database: Database
) -> None:
    rows = generated(ROWS)

    for kind in (CSV, NDJSON):
        await clear(sample_database)
        sent = await send_rows(sample_client, written(rows, kind), path=PATH, kind=kind)
        assert counts(report_of(sent)) == (len(rows), len(rows), 0, 0)
        assert await stored(sample_client) == rows

    for kind in (CSV, NDJSON):
        content = await exported(sample_client, kind)
        await clear(sample_database)
        sent = await send_rows(sample_client, content, "?ignore=id", path=PATH, kind=kind)
        assert counts(report_of(sent)) == (len(rows), len(rows), 0, 0)
        assert await stored(sample_client) == rows


@slow
@each_format
@pytest.mark.timeout(300)
@settings(max_examples=60)
@given(sample=SAMPLES)
async def test_a_row_on_its_own_comes_back_as_it_was_sent(
    sample_client: AsyncClient, sample_database: Database, kind: str, sample: Row
) -> None:
    await clear(sample_database)
    row = as_json(sample)

    report_of(await send_rows(sample_client, written([row], kind), path=PATH, kind=kind))

    assert await stored(sample_client) == [row]


@pytest.mark.parametrize("name", TYPES)
async def test_what_is_no_value_of_a_type_is_refused_at_its_field(
    sample_client: AsyncClient, name: str
) -> None:
    bodies = [body(**{name: value}) for value in invalid(TYPES[name])]

    for each in bodies:
        answer = await sample_client.post(
            PATH, content=json.dumps(each), headers={"Content-Type": "application/json"}
        )
        errors = assert_problem(answer, 422, "validation")["errors"]
        assert {error["pointer"].split("/")[1] for error in errors} == {name}, each[name]
    content = written(bodies, NDJSON)
    report = report_of(await send_rows(sample_client, content, path=PATH, kind=NDJSON), status=422)

    assert counts(report) == (len(bodies), 0, 0, len(bodies))
    pointers = {pointer.split("/")[1] for _, pointer, _ in refusals(report)}
    assert pointers == {name}
    assert await stored(sample_client) == []


def invalid_cells(type_: FieldType) -> list[Any]:
    """Return what is no value of a type in CSV."""
    if type_.is_json:
        return ["a", "[", '{"a"', *(each for each in invalid(type_) if not isinstance(each, str))]
    texts = (each for each in invalid(type_) if isinstance(each, str))
    others = {"5.0", "True"}  # so other programs write an integer and a truth
    return [each for each in texts if each and each.isprintable() and each not in others]


@pytest.mark.parametrize("name", TYPES)
async def test_a_cell_that_is_no_value_of_a_type_is_refused_at_its_field(
    sample_client: AsyncClient, name: str
) -> None:
    cells = invalid_cells(TYPES[name])
    content = written([body(**{name: cell}) for cell in cells], CSV)

    report = report_of(await send_rows(sample_client, content, path=PATH), status=422)

    assert counts(report) == (len(cells), 0, 0, len(cells))
    assert {pointer.split("/")[1] for _, pointer, _ in refusals(report)} == {name}


async def test_an_empty_cell_is_null(sample_client: AsyncClient) -> None:
    assert all(is_nullable(info.annotation) for info in SampleCreate.model_fields.values())
    nothing = dict.fromkeys(TYPES)

    for kind in (CSV, NDJSON):
        report_of(await send_rows(sample_client, written([nothing], kind), path=PATH, kind=kind))

    assert await stored(sample_client) == [nothing, nothing]


async def test_a_choice_that_a_spreadsheet_would_run_is_marked_on_request(
    sample_client: AsyncClient,
) -> None:
    await sample_client.post(PATH, json=body(genre="=1+1"))

    answer = await sample_client.get(f"{PATH}?escape=formulas", headers={"Accept": CSV})

    assert ",'=1+1," in answer.text
