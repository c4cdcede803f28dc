"""The routes `/` and `/favicon.ico` of a service that has none of its own.

A browser gets HTML at `/`, a program JSON.
"""

import asyncio

from fastapi import FastAPI
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from songbook.auth import PUBLIC
from songbook.db import DIALECT, BoundStatement, Use
from songbook.home.icon import ICON
from songbook.home.page import POLICY, Counts, has_docs, is_open, listed_resources, render
from songbook.http import JSON, Router, ServiceState, negotiate
from songbook.models import not_deleted, table_of

router = Router(dependencies=[PUBLIC], include_in_schema=False)

_VARY = {"Vary": "Accept"}
_COUNT_SECONDS = 1.0

# What autovacuum noted last. A table that it has not come to is empty if it has no pages, and else
# has as many rows as the statistics say, which a crash resets.
_ESTIMATES = BoundStatement(
    """SELECT array_agg(CASE WHEN reltuples > 0 THEN reltuples
        WHEN pg_relation_size(oid) = 0 THEN 0
        ELSE nullif(pg_stat_get_live_tuples(oid), 0) END::bigint ORDER BY place) AS counts
    FROM unnest($1::text[]) WITH ORDINALITY AS named(name, place)
    LEFT JOIN pg_class ON oid = to_regclass(name)""",
    [],
    coalesce=True,
    use=Use.ROW,
)


class Home(BaseModel):
    """What a program gets at `/`."""

    name: str
    version: str
    documentation: str | None
    resources: list[str]


@router.get("/")
async def read_home(request: Request) -> Response:
    """Return an overview of the service, to a browser as a page."""
    app, prefix = request.app, request.scope.get("root_path", "")
    paths = [prefix + each.path for each in listed_resources(app)]
    docs = f"{prefix}/docs" if has_docs(app) else None
    home = Home(name=app.title, version=app.version, documentation=docs, resources=paths)
    return await home_response(request, home)


@router.get("/favicon.ico")
async def read_icon() -> Response:
    """Return the icon that browsers ask for."""
    caching = {"Cache-Control": "public, max-age=604800, immutable"}
    return Response(ICON, headers=caching, media_type="image/x-icon")


async def home_response(request: Request, overview: BaseModel) -> Response:
    """Return the home page to a client that prefers HTML, as browsers do, else an overview."""
    if negotiate(request.headers, (JSON, "text/html")) == JSON:
        return Response(overview.model_dump_json(), headers=_VARY, media_type=JSON)
    app: FastAPI = request.app
    page = render(app, request.scope.get("root_path", ""), await _estimate_counts(app))
    return HTMLResponse(page, headers={**_VARY, "Content-Security-Policy": POLICY})


async def _estimate_counts(app: FastAPI) -> Counts | None:
    """Return about how many records everyone may list, None if the database does not respond."""
    service: ServiceState = app.state.service
    if not service.is_started:
        return None
    # the statistics of a table count the deleted rows, too, which are not for everyone
    models = {each.path: each.shown.table for each in listed_resources(app) if is_open(each)}
    tables = {path: table_of(each) for path, each in models.items() if not not_deleted(each)}
    names = [DIALECT.identifier_preparer.format_table(table) for table in tables.values()]
    try:
        async with asyncio.timeout(_COUNT_SECONDS):
            row = await service.database.fetch(_ESTIMATES._replace(arguments=[names]))
    except Exception:  # noqa: BLE001 - a connection may break in many ways, also in the driver
        return None
    assert row is not None, "an aggregate gives a row"
    return dict(zip(tables, row["counts"] or (), strict=True))
