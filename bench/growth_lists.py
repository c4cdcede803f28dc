"""How long the pages of a list take, from ten thousand songs to ten million."""

import asyncio
import json
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import asyncpg
from contenders import PRODUCTION, SONGBOOK
from database import FILL, SONGS, prepared
from growth_load import PATIENCE, Found, Tell, compared, latency
from psql import Psql, psql_of
from scenarios import FILTERED
from servers import running

SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
DEEP = 1_000_000  # the row behind which a page must not take longer
SORTED = ("sort=year", "sort=-year", "sort=name", "sort=-year,name", "sort=year,name")
ADVISED = {
    "ix_song_name": "name, id",
    "ix_song_artist": "artist, id",
    "ix_song_year_name": "year, name, id",
}
HELPED = ("sort=name", "sort=year,name", "name=…", "artist=…")
HALFWAY = ", in the middle"
ROOM = "SET maintenance_work_mem = '1GB'"
SECONDARY = """
    SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename = 'song'
    AND indexname NOT IN (SELECT conname FROM pg_constraint)
"""

Song = dict[str, str | None]


def measure_lists(options: Namespace, tell: Tell) -> Found:
    """Measure every request at every size, then what indexes of its own are worth to some."""
    sizes = [size for size in SIZES if size <= max(options.rows, SIZES[0])]
    project = options.project.resolve()
    found: dict[str, Found] = {}
    filled, advised = [], []
    with prepared(project) as url:
        psql = psql_of(url)
        psql.run("TRUNCATE song RESTART IDENTITY CASCADE")
        for before, size in pairwise([0, *sizes]):
            filled.append([size, fill(psql, before, size)])
            tell(f"  {size:,} songs, filled in {filled[-1][1]:.0f} s")
            asked = dict(requests(psql, size))
            for title, ms in latencies(project, url, asked, tell):
                known = found.setdefault(title, {"title": title, "ms": []})
                known["path"] = path_of(asked[title])
                known["ms"].append([size, ms])
        tell("  plans, and indexes of their own")
        for title, query in asked.items():
            found[title] |= plan(psql, query)
        psql.run(ROOM, *(f"CREATE INDEX {name} ON song ({on})" for name, on in ADVISED.items()))
        psql.run("VACUUM ANALYZE song")
        helped = {title: asked[title] for title in asked if title.removesuffix(HALFWAY) in HELPED}
        for title, ms in latencies(project, url, helped, tell):
            advised.append({"title": title, "ms": ms, **plan(psql, helped[title])})
        deep = deep_ratio(project, url, asked)
    ordered = [found[title] for title in asked]
    about = {"sizes": sizes, "fill": filled, "deep": deep}
    return about | {"requests": ordered, "advised": advised}


def latencies(
    project: Path, url: str, asked: dict[str, str], tell: Tell
) -> Iterator[tuple[str, float | None]]:
    """Have a server that has done nothing else answer the requests."""
    with running(
        "songbook", SONGBOOK.command, project, {"DATABASE_URL": url, **PRODUCTION}
    ) as server:
        for title, query in asked.items():
            ms = latency(server.port, path_of(query))
            tell(f"    {title}: {'given up' if ms is None else f'{ms:,.1f} ms'}")
            yield title, ms


def deep_ratio(project: Path, url: str, asked: dict[str, str]) -> float:
    """Say how many times as long as the first page the deepest takes that has a goal."""
    deep = asked.get(f"page behind row {DEEP:,}", asked["page in the middle"])
    with running(
        "songbook", SONGBOOK.command, project, {"DATABASE_URL": url, **PRODUCTION}
    ) as server:
        return compared(server.port, path_of(""), path_of(deep))


def fill(psql: Psql, before: int, size: int) -> float:
    """Add songs up to this number, with the indexes away meanwhile; return the seconds."""
    start = time.monotonic()
    indexes = [line.split("|", 1) for line in psql.run(SECONDARY).splitlines()]
    songs = FILL.replace(f"generate_series(1, {SONGS})", f"generate_series({before + 1}, {size})")
    psql.run(*(f"DROP INDEX {name}" for name, _ in indexes), songs)
    psql.run(ROOM, *(definition for _, definition in indexes))
    psql.run("VACUUM ANALYZE song", "CHECKPOINT")
    return time.monotonic() - start


def requests(psql: Psql, size: int) -> Iterator[tuple[str, str]]:
    """Give what is asked of so many songs: a title, and a query string."""
    middle = next(n for n in range(size // 2, size) if n % 20 and n * 7 % 75 == 37)
    song = song_of(psql, middle)
    yield "first page", ""
    yield "page in the middle", behind("sort=id", song)
    if size > DEEP:
        yield f"page behind row {DEEP:,}", behind("sort=id", song_of(psql, DEEP))
    yield "last page", behind("sort=id", song_of(psql, size - 50))
    yield "sort=-id", "sort=-id"
    for order in SORTED:
        yield order, order
        yield f"{order}{HALFWAY}", behind(order, song)
    yield "name=…", urlencode({"name": song["name"]})
    yield "artist=…", urlencode({"artist": song["artist"]})
    yield "id=…", f"id={middle}"
    for query in ("year=1990", "year=1990&year=1991", "year_gte=2020", "year="):
        yield query, query
    yield "id_gt=…", f"id_gt={middle}"
    yield "name_contains=…, one song", urlencode({"name_contains": f"number {size - 1}"})
    yield "artist_contains=a, half of them", "artist_contains=a"
    yield "q=…, one song", urlencode({"q": f"number {size - 1}"})
    yield "q=mogwai song, one in twelve", "q=mogwai+song"
    yield "q=song number, all", "q=song+number"
    yield "year=1990&artist_contains=a", "year=1990&artist_contains=a"
    filtered = FILTERED.partition("?")[2]
    yield filtered, filtered
    yield "count=exact", "count=exact"


def song_of(psql: Psql, id_: int) -> Song:
    """Read a song, its values as a cursor holds them."""
    row = json.loads(psql.run(f"SELECT row_to_json(song) FROM song WHERE id = {id_}"))
    return {name: None if value is None else str(value) for name, value in row.items()}


def behind(order: str, song: Song) -> str:
    """Ask for the page behind a song, as its link would."""
    first = params_of(order)
    values = [song[key.field] for key in first.order]
    cursor = import_module("songbook.lists.cursors").encode_cursor(values, first.cursor_scope)
    return f"{order}&after={cursor}"


def params_of(query: str) -> Any:
    """Have Songbook parse a query string."""
    songs = import_module("app.resources.songs").songs
    read = import_module("songbook.http").read_query_string
    return import_module("songbook.lists").parse_params(songs, read(query.encode(), limit=1000))


def path_of(query: str) -> str:
    """Return the address of a list."""
    return f"/songs?{query}" if query else "/songs"


def plan(psql: Psql, query: str) -> Found:
    """Return the indexes that serve a list, None if it reads the table, and the rows it reads."""
    params = params_of(query)
    page = import_module("songbook.lists").page_query(params, with_total=params.with_total)
    top = asyncio.run(explained(psql.url, page.sql, page.arguments))
    nodes = list(nodes_of(top))
    indexes = sorted({node["Index Name"] for node in nodes if "Index Name" in node})
    if any(node["Node Type"] == "Seq Scan" for node in nodes):
        indexes.append("the table")
    scans = [node for node in nodes if "Relation Name" in node]
    rows = round(sum(map(rows_of, scans))) if "Actual Rows" in top else None
    return {"index": None if indexes == ["the table"] else ", ".join(indexes), "rows": rows}


async def explained(url: str, sql: str, arguments: Sequence[Any]) -> dict[str, Any]:
    """Run a statement and return its plan; only plan it, if it takes too long."""
    settings = {"statement_timeout": f"{PATIENCE}s"}
    connection = await asyncpg.connect(url, server_settings=settings)
    try:
        for options in ("ANALYZE, TIMING OFF, FORMAT JSON", "FORMAT JSON"):
            try:
                text = await connection.fetchval(f"EXPLAIN ({options}) {sql}", *arguments)
            except asyncpg.QueryCanceledError:
                continue
            top: dict[str, Any] = json.loads(text)[0]["Plan"]
            return top
    finally:
        await connection.close()
    raise SystemExit(f"PostgreSQL did not even plan this:\n{sql}")


def rows_of(scan: dict[str, Any]) -> float:
    """Count what a scan read, also what it threw away."""
    thrown = ("Rows Removed by Filter", "Rows Removed by Index Recheck")
    return scan["Actual Loops"] * sum(scan.get(each, 0) for each in ("Actual Rows", *thrown))


def nodes_of(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Give the nodes of a plan."""
    yield node
    for below in node.get("Plans", []):
        yield from nodes_of(below)
