"""The application of a service: its routes, its documentation, its database."""

import gc
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from typing import Any, TypedDict, Unpack

from fastapi import APIRouter, FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import BaseRoute

from songbook.auth import Account, Accounts, current_user, get_logins
from songbook.config import Settings, check_production
from songbook.db import Database, located
from songbook.errors import Problem, handle
from songbook.http import Front, Rule, add_alias
from songbook.openapi import add_docs, describe

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


class About(TypedDict, total=False):
    """What FastAPI and the OpenAPI document are told of a service."""

    title: str
    version: str
    summary: str
    description: str
    contact: dict[str, Any] | None
    license_info: dict[str, Any]
    terms_of_service: str
    servers: list[dict[str, Any]]


_FAILURES = (Exception, Problem, HTTPException, RequestValidationError, SQLAlchemyError, OSError)


def create_app(
    settings: Settings,
    routers: Iterable[APIRouter],
    *,
    accounts: type[Account] | None = None,
    aliases: Mapping[str, str] | None = None,
    lifespan: Lifespan | None = None,
    **about: Unpack[About],
) -> FastAPI:
    """Return the application of a service.

    `accounts` is the table class of the accounts that sign in; `aliases` maps additional paths to
    those that they answer as; `lifespan` runs while the database is open. Raises StartError for
    what production must not have, and TypeError for a route that needs accounts without any.
    """
    check_production(settings)
    app = FastAPI(
        debug=settings.debug,
        lifespan=partial(_lifespan, own=lifespan),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        middleware=[Middleware(Front, origins=settings.cors_origins)],
        exception_handlers=dict.fromkeys(_FAILURES, handle),
        **about,
    )
    app.state.settings, app.state.accounts = settings, accounts and Accounts(accounts)
    _add_routes(app, routers, aliases or {})
    return app


def _add_routes(app: FastAPI, routers: Iterable[APIRouter], aliases: Mapping[str, str]) -> None:
    for router in routers:
        app.router.routes.extend(router.routes)  # included routers would be matched twice
    add_docs(app)
    app.openapi = partial(describe, app)  # type: ignore[method-assign]
    for alias, path in aliases.items():
        add_alias(app, alias, path)
    if app.state.accounts is None:
        _check_without_accounts(app.routes, app.state.settings)


def _check_without_accounts(routes: Iterable[BaseRoute], settings: Settings) -> None:
    """Raise TypeError for a route that asks who sends a request."""
    for route in routes:
        if isinstance(route, APIRoute) and _needs_accounts(route, settings):
            raise TypeError(
                f"{route.path} asks who sends a request: give create_app the table class of the"
                " accounts, or leave out the permission and CLOSED_WRITES"
            )


def _needs_accounts(route: APIRoute, settings: Settings) -> bool:
    calls = [*_calls(route.dependant)]
    rules = [call for call in calls if isinstance(call, Rule)]
    return (
        current_user in calls
        or get_logins in calls
        or any(rule.asks(method, settings) for rule in rules for method in route.methods or ())
    )


def _calls(dependant: Dependant) -> Iterator[object]:
    """Yield what FastAPI calls for a route before its handler."""
    for each in dependant.dependencies:
        yield each.call
        yield from _calls(each)


@asynccontextmanager
async def _lifespan(app: FastAPI, own: Lifespan | None) -> AsyncIterator[None]:
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
            async with own(app) if own else nullcontext():
                yield
        finally:
            await database.close()
