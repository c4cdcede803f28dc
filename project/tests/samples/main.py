"""The application of the sample."""

from fastapi import FastAPI

from songbook import auth
from songbook.application import create_app as create_application
from tests.samples import resources, routes
from tests.samples.resources.members import Member
from tests.samples.settings import Settings


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the sample for these settings, by default those of the environment."""
    return create_application(
        settings or Settings.load(),
        [routes.router, auth.router, *resources.routers()],
        accounts=Member,
        aliases={"/api/v1/notes": "/notes", "/api/docs": "/docs"},
        title="Samples",
        version="1",
    )


app = create_app()
