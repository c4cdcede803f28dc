"""The service: the application and its life."""

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from app import health, index, resources
from songbook.auth import routes as auth
from songbook.config import Settings, load_settings
from songbook.db.connect import located
from songbook.db.database import Database
from songbook.errors.handlers import handle
from songbook.errors.problems import Problem
from songbook.http.middleware import Front
from songbook.http.routing import add_alias
from songbook.openapi.document import describe
from songbook.openapi.swagger_ui import add_docs

ALIASES = {"/api/v1/todo": "/todos", "/api/users": "/users", "/api/docs": "/docs"}
"""Other addresses of what is at the second ones, which the documentation does not tell."""

_FAILURES = (Exception, Problem, HTTPException, RequestValidationError, SQLAlchemyError, OSError)


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the service for these settings, by default those of the environment."""
    settings = settings or load_settings()
    settings.check_production()
    app = FastAPI(
        title=settings.project_name,
        version="0.1.0",
        description="An asynchronous REST microservice whose JSON is written by PostgreSQL.",
        contact={"email": settings.admin_email} if settings.admin_email else None,
        debug=settings.debug,
        lifespan=_life,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.settings = settings
    app.add_middleware(Front, origins=settings.cors_origins)
    for failure in _FAILURES:
        app.add_exception_handler(failure, handle)
    for module in (index, health, auth, *resources.modules().values()):
        app.router.routes.extend(module.router.routes)  # included routers would be matched twice
    add_docs(app)
    for alias, path in ALIASES.items():
        add_alias(app, alias, path)
    app.openapi = partial(describe, app)  # type: ignore[method-assign]
    return app


@asynccontextmanager
async def _life(app: FastAPI) -> AsyncIterator[None]:
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
        try:
            yield
        finally:
            await database.close()


app = create_app()

# What was made so far stays. Without this the garbage collector looks through all of it once or
# twice a second under load, 70 ms each time, in which nobody is answered.
gc.freeze()
