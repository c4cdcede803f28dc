"""Routes of a test's own, on the database of the service that is tested."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import Depends, FastAPI
from httpx import ASGITransport, AsyncClient
from sqlalchemy.engine import URL

from songbook.application import create_app
from songbook.auth import PUBLIC
from songbook.http import Route, Router
from tests.samples.settings import Settings
from tests.support.databases import spelled

each_way = pytest.mark.parametrize("way", ["/direct", "/solved"])
"""Runs a test with a handler that is called directly, and with one that FastAPI calls."""


async def _nothing() -> None:
    """Be a dependency that only FastAPI calls."""


def add_both_ways(
    router: Router, path: str, handler: Callable[..., Any], method: str = "POST", **options: Any
) -> None:
    """Add a handler at /direct, where it is called directly, and at /solved, where FastAPI does."""
    options["methods"] = [method]
    router.add_api_route(f"/direct{path}", handler, **options)
    router.add_api_route(f"/solved{path}", handler, dependencies=[Depends(_nothing)], **options)
    found = [route for route in router.routes[-2:] if isinstance(route, Route)]
    assert [route.direct is not None for route in found] == [True, False]


def open_router() -> Router:
    """Return an empty router, whose routes are for anyone."""
    return Router(dependencies=[PUBLIC])


def lent(app: FastAPI) -> int:
    """Return how many connections of a service are in use."""
    checked_out: int = app.state.service.database.engine.pool.checkedout()
    return checked_out


def asking(router: Router, app: FastAPI | None = None) -> AsyncClient:
    """Return a client of a service of these routes, on the open database of another one."""
    own = create_app(Settings(), [router])
    if app:
        own.state.service.database = app.state.service.database
    return AsyncClient(transport=ASGITransport(own), base_url="http://songbook")


@asynccontextmanager
async def serving(router: Router, url: URL) -> AsyncIterator[tuple[AsyncClient, FastAPI]]:
    """Give a client of a service of these routes on a database, and the service."""
    app = create_app(Settings(database_url=spelled(url)), [router])
    transport = ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        AsyncClient(transport=transport, base_url="http://songbook") as client,
    ):
        yield client, app
