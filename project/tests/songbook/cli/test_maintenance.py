"""What an operator does on the command line: the purge of what was deleted."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest
from httpx import AsyncClient
from sqlalchemy import text
from sqlalchemy.engine import URL

from songbook.cli import maintenance
from songbook.cli.maintenance import remove
from songbook.db import purge_of
from songbook.models import Record
from tests.samples.resources.novels import Novel
from tests.samples.resources.publishers import Publisher
from tests.samples.resources.towns import Town
from tests.support.databases import beside, execute, spelled
from tests.support.processes import Outcome


async def test_the_purge_tells_what_it_removed_and_keeps_what_is_not_due(
    client: AsyncClient, command: Callable[..., Outcome], database_url: URL
) -> None:
    for number in range(1, 4):
        await client.post("/notes", json={"content": f"{number}"})
    await client.delete("/notes/1")
    await client.delete("/notes/2")
    execute(database_url, "UPDATE note SET deleted_at = now() - interval '31 days' WHERE id = 1")
    url = spelled(database_url)

    by_setting = await asyncio.to_thread(command, "purge", DATABASE_URL=url)
    by_option = await asyncio.to_thread(command, "purge", "--older-than", "0", DATABASE_URL=url)

    purged = (
        ("0 clippings", "were"),
        ("0 novels", "were"),
        ("0 publishers", "were"),
        ("1 note", "was"),
    )
    told = "".join(
        f"{rows} deleted {{0}} or more days ago {verb} purged.\n" for rows, verb in purged
    )
    assert (by_setting.code, by_setting.printed) == (0, told.format(30))
    assert (by_option.code, by_option.printed) == (0, told.format(0))
    assert execute(database_url, "SELECT id FROM note") == [(3,)]


@pytest.mark.parametrize("models", [(Novel, Publisher, Town), (Town, Publisher, Novel)])
def test_parents_are_purged_together_with_their_children(
    migrated_url: URL, models: tuple[type[Record], ...]
) -> None:
    execute(
        migrated_url,
        "INSERT INTO publisher (name, deleted_at) VALUES ('A', now() - interval '2 days')",
        "INSERT INTO novel (title, publisher_id, deleted_at)"
        " VALUES ('B', 1, now() - interval '2 days')",
    )

    purge = purge_of(models, timedelta(days=1))
    removed = asyncio.run(remove(migrated_url, purge, lambda *_: None))

    assert removed == {"novels": 1, "publishers": 1}


async def test_a_purge_says_that_another_process_is_at_it(
    command: Callable[..., Outcome], migrated_url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "_PATIENCE_SECONDS", 0.1)
    async with beside(migrated_url) as other:
        await other.execute(text(f"SELECT pg_advisory_lock({int.from_bytes(b'purge')})"))
        url = spelled(migrated_url)
        refused = await asyncio.to_thread(command, "purge", DATABASE_URL=url)

    done = "0 clippings, 0 novels, 0 publishers, 0 notes"
    told = f"the removal stopped after {done}: another process removes them"
    assert (refused.code, refused.printed) == (1, "")
    assert refused.told == [f"samples: {told}: try again later"]


def test_a_purge_without_its_table_says_to_migrate_first(
    command: Callable[..., Outcome], scratch_url: URL
) -> None:
    refused = command("purge", DATABASE_URL=spelled(scratch_url))

    assert refused.told == ["samples: a table does not exist: run the command migrate."]


@pytest.mark.parametrize("days", ["-1", "36501", "9" * 30])
def test_an_age_that_no_row_can_have_is_refused(
    command: Callable[..., Outcome], database_url: URL, days: str
) -> None:
    assert command("purge", "--older-than", days, DATABASE_URL=spelled(database_url)).code == 2


def test_accounts_are_not_imported_because_a_file_has_no_hashes(
    command: Callable[..., Outcome], database_url: URL
) -> None:
    refused = command("import", "members", "members.csv", DATABASE_URL=spelled(database_url))

    [told] = refused.told
    assert told.startswith("samples: members cannot be imported, because the table has no col")
