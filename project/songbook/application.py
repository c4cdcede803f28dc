"""The application of a service: its routes, its documentation, its database."""

import gc
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import BaseRoute

from songbook.auth import Account, Accounts, logins
from songbook.config import Settings, check_production
from songbook.db import Database, located
from songbook.errors import Problem, handle
from songbook.http import Front, Route, add_alias
from songbook.openapi import add_docs, describe

_FAILURES = (Exception, Problem, HTTPException, RequestValidationError, SQLAlchemyError, OSError)


def create_app(
    settings: Settings,
    routers: Iterable[APIRouter],
    *,
    accounts: type[Account] | None = None,
    aliases: Mapping[str, str] | None = None,
    **options: Any,
) -> FastAPI:
    """Return the application of a service.

    `accounts` is the table class of the accounts that sign in; `aliases` are other addresses of
    what is at the second ones; `options` are FastAPI's own. Raises StartError for settings that
    production must not have, and TypeError for a route that needs accounts where there are none.
    """
    check_production(settings)
    app = FastAPI(
        debug=settings.debug,
        lifespan=_lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        middleware=[Middleware(Front, origins=settings.cors_origins)],
        exception_handlers=dict.fromkeys(_FAILURES, handle),
        **options,
    )
    app.state.settings = settings
    app.state.accounts = Accounts(accounts) if accounts else None
    _add_routes(app, routers, aliases or {})
    app.openapi = partial(describe, app)  # type: ignore[method-assign]
    return app


def _add_routes(app: FastAPI, routers: Iterable[APIRouter], aliases: Mapping[str, str]) -> None:
    for router in routers:
        app.router.routes.extend(router.routes)  # included routers would be matched twice
    add_docs(app)
    for alias, path in aliases.items():
        add_alias(app, alias, path)
    if app.state.accounts is None:
        _check_without_accounts(app.routes, app.state.settings)


def _check_without_accounts(routes: Iterable[BaseRoute], settings: Settings) -> None:
    """Raise TypeError for a route that asks who sends a request."""
    for route in routes:
        if isinstance(route, Route) and (
            logins in route.guards.values()
            or any(route.rule.asks(method, settings) for method in route.methods or ())
        ):
            raise TypeError(
                f"{route.path} asks who sends a request: give create_app the table class of the"
                " accounts, or leave out the permission and CLOSED_WRITES"
            )


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep the database open for as long as the service runs."""
    settings: Settings = app.state.settings
    with located(settings) as url:
        database = Database(
            url,
            pool_size=settings.pool_size,
            pool_timeout=settings.pool_timeout,
            bulk_at_once=settings.bulk_at_once,
            bulk_seconds=settings.bulk_seconds,
            echo=settings.echo_sql,
        )
        app.state.database = database
        # What was made so far stays. Without this the garbage collector looks through all of it
        # once or twice a second under load, 70 ms each time, in which no request is answered.
        gc.freeze()
        try:
            yield
        finally:
            await database.close()
