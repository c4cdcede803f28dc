"""What PostgreSQL writes of a record: exactly what its Public class says of the stored row."""

import json
from typing import Any

import pytest
from httpx import AsyncClient, Response
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlmodel.ext.asyncio.session import AsyncSession

from songbook.crud.records import Records
from songbook.db.database import Database
from songbook.models.bases import Timestamps
from songbook.models.tables import table_of
from tests.support.resources import Resource
from tests.support.samples import SAMPLES, Sample, SamplePublic
from tests.support.stored import array_of, pairs, replace_rows, stored_rows
from tests.support.strategies import A_BODY, ROWS
from tests.support.values import shown as as_json


def shown(resource: Resource, row: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return what a client may see of a row, in its order, as JSON has it."""
    return [(name, as_json(value)) for name, value in public(resource, row).items()]


def public(resource: Resource, row: dict[str, Any]) -> dict[str, Any]:
    """Return the members of a row; what is computed counts records that no test here stores."""
    return {name: row.get(name, 0) for name in resource.public.model_fields}


def unmoved(answer: Response) -> list[list[tuple[str, Any]]]:
    """Return the members of an answer but the one that every write moves."""
    return [
        [member for member in members if member[0] != "updated_at"]
        for members in pairs(answer.text)
    ]


@pytest.mark.long
@settings(max_examples=30)
@given(drawn=A_BODY)
async def test_every_answer_shows_the_stored_row(
    client: AsyncClient, session: AsyncSession, resource: Resource, drawn: dict[str, dict[str, Any]]
) -> None:
    body = drawn[resource.name]
    await replace_rows(session, resource)

    created = await client.post(resource.path, json=body)
    address = created.headers["location"]
    read = await client.get(address)
    replaced = await client.put(address, json=body)
    unchanged = await client.patch(address, json={})
    changed = await client.patch(address, json=body)
    last = await client.get(address)
    page = await resource.page(client)

    assert (read.text, unchanged.text, last.text) == (created.text, replaced.text, changed.text)
    assert unmoved(created) == unmoved(replaced) == unmoved(changed)
    assert issubclass(resource.public, Timestamps) or last.text == created.text
    assert array_of(page) == f"[{last.text}]"
    [row] = await stored_rows(session, table_of(resource.table))
    assert pairs(last.text) == [shown(resource, row)]
    stored = {name: as_json(row[name]) for name in body if name != "password"}
    assert stored.items() <= body.items()
    assert resource.public.model_validate_json(last.text).model_dump() == public(resource, row)


@pytest.mark.long
@settings(max_examples=20)
@given(drawn=ROWS, limit=st.integers(1, 7))
async def test_a_list_shows_whatever_rows_are_stored(
    client: AsyncClient,
    session: AsyncSession,
    resource: Resource,
    drawn: dict[str, list[dict[str, Any]]],
    limit: int,
) -> None:
    rows = drawn[resource.name]
    await replace_rows(session, resource, rows)

    page = await resource.page(client, limit=limit)

    expected = [
        shown(resource, row) for row in await stored_rows(session, table_of(resource.table))
    ]
    assert pairs(array_of(page)) == expected[:limit]
    assert len(expected) == len(rows)
    assert ("link" in page.headers) is (len(rows) > limit)


async def test_a_change_of_one_field_shows_in_every_later_answer(
    client: AsyncClient, session: AsyncSession, resource: Resource
) -> None:
    address = (await resource.add(client)).headers["location"]

    for name in resource.fields:
        value = resource.value(name)
        changed = await client.patch(address, json={name: value})

        [row] = await stored_rows(session, table_of(resource.table))
        assert pairs(changed.text) == [shown(resource, row)]
        assert name == "password" or as_json(row[name]) == value
        assert (await client.get(address)).text == changed.text


samples = Records(Sample, SamplePublic)


@pytest.mark.long
@settings(max_examples=30)
@given(before=SAMPLES, after=SAMPLES)
async def test_every_kind_of_value_is_shown_as_it_was_stored(
    sample_database: Database, before: dict[str, Any], after: dict[str, Any]
) -> None:
    row = await sample_database.fetch(samples.insert(before))
    assert row
    number, answers = row["id"], [row["document"]]
    for query in (
        samples.select(number),
        samples.update(number, after),
        samples.select(number),
    ):
        row = await sample_database.fetch(query)
        assert row
        answers.append(row["document"])

    for document, fields in zip(answers, [before, before, after, after], strict=True):
        members = json.loads(document)
        assert list(members) == list(SamplePublic.model_fields)
        assert members == {name: as_json(value) for name, value in fields.items()} | {"id": number}
        assert "argon2id" not in document
