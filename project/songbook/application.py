"""The application of a service: routes, documentation, database."""

import gc
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from datetime import timedelta
from functools import partial
from typing import Any, TypedDict, Unpack

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from opentelemetry.trace import TracerProvider
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import BaseRoute

import songbook
from songbook import health, home, monitoring
from songbook.auth import Account, check_accounts, current_user, get_logins, optional_user
from songbook.config import CommandError, Settings, check_production, sends_traces
from songbook.console import add_console
from songbook.crud import KEYS
from songbook.db import (
    Database,
    Housekeeping,
    Readiness,
    Removal,
    bounded_log,
    expiry_of,
    purge_of,
    read_revisions,
    resolve_database,
)
from songbook.errors import Problem, handle
from songbook.http import (
    Dependency,
    HeadersMiddleware,
    Permission,
    Route,
    ServiceState,
    add_alias,
    add_files,
    dependants_of,
    iter_route_contexts,
    open_access_log,
    shown_records,
    shown_tables,
    telemetry_config,
)
from songbook.lists import lists_in
from songbook.models import Relations, owner_columns, table_of, tie_owners
from songbook.openapi import add_docs, describe
from songbook.tracing import StatementTracer

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


class About(TypedDict, total=False):
    """Arguments of FastAPI for the OpenAPI document."""

    title: str
    version: str
    summary: str
    description: str
    contact: dict[str, Any] | None
    license_info: dict[str, Any]
    terms_of_service: str
    servers: list[dict[str, Any]]
    openapi_tags: list[dict[str, Any]]


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

    `accounts` is the table class of the accounts; `aliases` maps additional paths to those of
    routes; `lifespan` runs while the database is open. Raises CommandError for settings that are
    not allowed in production or with the routes, and TypeError for a route that requires `accounts`
    without any.
    """
    check_production(settings)
    service = ServiceState(settings, accounts, tracer_provider=_create_provider(settings, about))
    app = FastAPI(
        debug=settings.debug,
        lifespan=partial(_lifespan, inner=lifespan),
        openapi_url=None,  # `add_docs` serves the document
        redirect_slashes=False,
        middleware=[_middleware(settings)],
        exception_handlers=dict.fromkeys(_FAILURES, handle),
        telemetry=telemetry_config(service),
        **about,
    )
    _add_routes(app, service, routers, aliases or {})
    return app


def _middleware(settings: Settings) -> Middleware:
    return Middleware(
        HeadersMiddleware,
        root_path=settings.root_path,
        origins=settings.cors_origins,
        access_log=open_access_log(settings),
        timing=settings.environment == "dev",
    )


def _create_provider(settings: Settings, about: About) -> TracerProvider | None:
    """Return the provider of traces, None without a collector. Raises CommandError."""
    if not sends_traces(os.environ):
        return None
    from songbook.tracing.export import create_provider  # noqa: PLC0415 - its SDK is an extra

    version = about.get("version", songbook.__version__)
    attributes = {"service.version": version, "deployment.environment.name": settings.environment}
    return create_provider(about.get("title", "songbook"), attributes)


def _add_routes(
    app: FastAPI,
    service: ServiceState,
    routers: Iterable[APIRouter],
    aliases: Mapping[str, str],
) -> None:
    app.state.service = service
    for router in (*routers, health.router, monitoring.router):
        app.router.routes.extend(router.routes)  # include_router would match paths twice
    own_paths = {context.path for context in iter_route_contexts([*app.routes])}
    pages = [each for each in home.router.routes if isinstance(each, Route)]
    app.router.routes.extend(each for each in pages if each.path not in own_paths)
    service.relations = Relations(lists_in(app.routes, service.settings))
    own = (route for route in app.routes if isinstance(route, Route))
    service.untraced |= {route.path for route in own if "health" in route.tags}
    add_files(app.router.routes)  # last: their lists are known
    add_docs(app)
    add_console(app)
    app.openapi = partial(describe, app)  # type: ignore[method-assign]
    for alias, path in aliases.items():
        add_alias(app, alias, path)
    _check_routes(app.routes, service)


def _check_routes(routes: Iterable[BaseRoute], service: ServiceState) -> None:
    """Raise TypeError for routes that cannot work, and for an invalid accounts class.

    Raises CommandError for a root path that is the path of a route: with a proxy that removes it
    nobody could tell which of the two is meant.
    """
    if service.accounts:
        check_accounts(service.accounts)
    root_path = service.settings.root_path
    named: dict[str, Permission] = {}
    _check_owners(routes, service.settings)
    for context in iter_route_contexts([*routes]):
        if context.path == root_path:
            message = f"ROOT_PATH={root_path} is a path of the service, too: choose another"
            raise CommandError(message)
        route: Any = context  # of an included router, with its prefix and its dependencies
        if not isinstance(context.original_route, APIRoute):
            continue
        calls = [each.call for each in dependants_of(route.dependant)]
        is_ours = isinstance(context.original_route, Route)
        if not is_ours and any(isinstance(call, Dependency) for call in calls):
            raise TypeError(f"{route.path} must be a route of a songbook.http.Router")
        for call in calls:
            if isinstance(call, Permission) and named.setdefault(call.name, call) is not call:
                raise TypeError(f"{route.path} has another permission named `{call.name}`")
        if service.accounts is None and _needs_accounts(route, calls, service.settings):
            raise TypeError(
                f"{route.path} requires an account: pass `accounts` to create_app, or leave out the"
                " permission and CLOSED_WRITES"
            )


def _check_owners(routes: Iterable[BaseRoute], settings: Settings) -> None:
    """Raise TypeError for a route that shows rows with owners to everyone."""
    for route in routes:
        tie_owners(shown_tables([route]))
        closed = [each.table for each in shown_records([route]) if each.readable is None]
        is_owned = any(owner_columns(table_of(each)) for each in closed)
        if is_owned and isinstance(route, Route) and not _requires_users(route, settings):
            raise TypeError(f"{route.path} shows rows with owners: give it the permission OWNER")


def _requires_users(route: Route, settings: Settings) -> bool:
    methods = route.methods or set()
    return all(route.permission.requires_user(method, settings) for method in methods)


def _needs_accounts(route: Any, calls: Sequence[object], settings: Settings) -> bool:
    return bool({current_user, optional_user, get_logins}.intersection(calls)) or any(
        call.requires_user(method, settings)
        for call in calls
        if isinstance(call, Permission)
        for method in route.methods or ()
    )


@asynccontextmanager
async def _lifespan(app: FastAPI, inner: Lifespan | None) -> AsyncIterator[None]:
    """Keep the database open while the service runs."""
    service: ServiceState = app.state.service
    settings = service.settings
    with resolve_database(settings) as url:
        service.database = _open_database(service, url)
        service.readiness = Readiness(service.database, read_revisions(settings.directory))
        service.housekeeping = Housekeeping(service.database, _removals(settings, app.routes))
        gc.freeze()  # a full collection, once or twice a second under load, took 70 ms each time
        try:
            async with (
                _exporting(service.tracer_provider),
                bounded_log(settings),
                monitoring.monitored(service),
                service.housekeeping.running(),
                inner(app) if inner else nullcontext(),
            ):
                service.is_started = True
                yield
        finally:
            service.is_started = False
            await service.database.close()


def _removals(settings: Settings, routes: Iterable[BaseRoute]) -> list[Removal]:
    """Return what the service removes hourly."""
    if not settings.housekeeping:
        return []
    return [
        expiry_of(KEYS.c.created_at, timedelta(hours=settings.key_hours)),
        purge_of(shown_tables(routes), timedelta(days=settings.retention_days)),
    ]


def _open_database(service: ServiceState, url: URL) -> Database:
    settings, provider = service.settings, service.tracer_provider
    tracer = provider.get_tracer("songbook", songbook.__version__) if provider else None
    return Database(
        url,
        pool_size=settings.pool_size,
        pool_timeout=settings.pool_timeout,
        bulk_at_once=settings.bulk_at_once,
        bulk_seconds=settings.bulk_seconds,
        echo=settings.echo_sql,
        tracer=StatementTracer(tracer, url) if tracer else None,
    )


def _exporting(provider: TracerProvider | None) -> AbstractAsyncContextManager[None]:
    if provider is None:
        return nullcontext()
    from songbook.tracing.export import exporting  # noqa: PLC0415 - its SDK is an extra

    return exporting(provider)
