"""The application: routes, accounts and aliases."""

from fastapi import FastAPI

import songbook
from app import health, index, resources
from app.resources.users import User
from app.settings import Settings
from songbook import auth
from songbook.application import create_app as create_application

ALIASES = {"/api/v1/todo": "/todos", "/api/users": "/users", "/api/docs": "/docs"}
"""Paths that serve another path too, outside the OpenAPI document."""


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the application for these settings, by default those of the environment."""
    settings = settings or Settings.load()
    return create_application(
        settings,
        [index.router, health.router, auth.router, *resources.routers()],
        accounts=User,
        aliases=ALIASES,
        title=settings.project_name,
        version=songbook.__version__,
        description="An asynchronous REST microservice whose JSON is written by PostgreSQL.",
        license_info={"name": "MIT", "identifier": "MIT"},
        contact={"email": settings.admin_email} if settings.admin_email else None,
    )


app = create_app()
