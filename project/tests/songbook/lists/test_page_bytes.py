"""The size of a page: long rows make it shorter, and none is lost."""

import pytest
from httpx import AsyncClient
from sqlalchemy import insert
from sqlmodel.ext.asyncio.session import AsyncSession

from songbook.lists.page_bytes import MAX_PAGE_BYTES, SEPARATOR, cut
from songbook.models.tables import table_of
from tests.samples.resources.notes import Note
from tests.support.marks import slow

# As they are stored, and with six bytes or two for a character in JSON.
LONG = {"plain": "a" * 10_000, "escaped": "\x01" * 10_000, "beyond ASCII": "\u00e9" * 10_000}


async def store(session: AsyncSession, contents: list[str]) -> None:
    await session.exec(insert(table_of(Note)).values([{"content": each} for each in contents]))
    await session.commit()


@slow
@pytest.mark.parametrize("content", LONG.values(), ids=LONG)
async def test_a_page_of_long_rows_has_fewer_than_the_limit_and_links_to_the_rest(
    client: AsyncClient, session: AsyncSession, content: str
) -> None:
    await store(session, [content] * 240)

    seen, url = [], "/notes?limit=1000"
    while url:
        page = await client.get(url)
        assert len(page.content) <= MAX_PAGE_BYTES + 100
        items = page.json()["items"]
        seen += [item["id"] for item in items]
        url = page.links.get("next", {}).get("url", "")
        assert len(items) > 10 or not url

    assert len(seen) == len(set(seen)) == 240
    assert seen == sorted(seen, reverse=True)


async def test_a_page_of_short_rows_is_not_shortened(
    client: AsyncClient, session: AsyncSession
) -> None:
    await store(session, ["short"] * 1000)

    page = await client.get("/notes?limit=1000")

    assert len(page.json()["items"]) == 1000
    assert not page.links


def test_a_row_that_is_longer_than_a_page_has_a_page_of_its_own() -> None:
    row = "a" * (MAX_PAGE_BYTES + 1)

    assert cut(row) is None
    assert cut(f"{row}{SEPARATOR}b") == row
