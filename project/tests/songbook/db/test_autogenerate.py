"""The function that searches call, as autogenerate compares it and writes it into revisions."""

import asyncio
from types import SimpleNamespace

from alembic.autogenerate import produce_migrations, render_python_code
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, MetaData, NullPool
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import create_async_engine

from songbook.db.autogenerate import search_text
from songbook.models import create_search_text, searched_words
from tests.samples.resources.books import Book
from tests.samples.tables import Stored
from tests.support.databases import execute

BODY = "SELECT prosrc FROM pg_proc WHERE proname = 'search_text'"
INDEXES = "SELECT indexname FROM pg_indexes WHERE indexname LIKE '%words' ORDER BY 1"
OLD_BODY = "SELECT translate($1, '#', ' ')"
COUNT = f"SELECT count(*) FROM book WHERE {searched_words(Book)} @@ 'dc'::tsquery"


def revision(url: URL, metadata: MetaData) -> list[list[str]]:
    """Return what the code of a new revision executes: in its upgrade, in its downgrade."""

    def produce(connection: Connection) -> list[list[str]]:
        plugins = ["alembic.autogenerate.schemas", search_text.PLUGIN.name]
        options = {"autogenerate_plugins": plugins}
        context = MigrationContext.configure(connection, opts=options)
        script = produce_migrations(context, metadata)
        assert script.upgrade_ops
        assert script.downgrade_ops
        bodies = (script.upgrade_ops, script.downgrade_ops)
        return [executed(render_python_code(body)) for body in bodies]

    async def run() -> list[list[str]]:
        engine = create_async_engine(url, poolclass=NullPool)
        async with engine.connect() as connection:
            return await connection.run_sync(produce)

    return asyncio.run(run())


def executed(code: str) -> list[str]:
    statements: list[str] = []
    lines = [line.strip() for line in code.splitlines()]
    exec("\n".join(lines), {"op": SimpleNamespace(execute=statements.append)})
    return statements


def count_by_index(url: URL) -> int:
    plan = execute(url, "SET enable_seqscan = off", f"EXPLAIN {COUNT}")
    assert any("ix_book_words" in line for (line,) in plan)
    [(count,)] = execute(url, "SET enable_seqscan = off", COUNT)
    return int(count)


def test_a_database_without_the_function_gets_it_and_loses_it_in_the_downgrade(
    scratch_url: URL,
) -> None:
    upgrade, downgrade = revision(scratch_url, Stored.metadata)

    assert upgrade == [create_search_text()]
    assert downgrade == ["DROP FUNCTION search_text(text)"]
    execute(scratch_url, *upgrade)
    assert revision(scratch_url, Stored.metadata) == [[], []]
    execute(scratch_url, *downgrade)
    assert execute(scratch_url, BODY) == []


def test_tables_without_texts_need_no_function(scratch_url: URL) -> None:
    assert revision(scratch_url, MetaData()) == [[], []]


def test_a_function_with_other_marks_is_replaced_and_what_it_returned_leaves_the_indexes(
    migrated_url: URL,
) -> None:
    execute(
        migrated_url,
        create_search_text(OLD_BODY),
        "INSERT INTO book (name, author) VALUES ('AC/DC', 'x')",
    )
    indexes = execute(migrated_url, INDEXES)

    upgrade, downgrade = revision(migrated_url, Stored.metadata)

    rebuilt = [f"REINDEX INDEX {name}" for (name,) in indexes]
    assert upgrade == [create_search_text(), *rebuilt]
    assert downgrade == [create_search_text(OLD_BODY), *rebuilt]
    for statements, found in (upgrade[:1], 0), (upgrade, 1), (downgrade, 0), (upgrade, 1):
        execute(migrated_url, *statements)
        assert count_by_index(migrated_url) == found
    assert revision(migrated_url, Stored.metadata) == [[], []]
