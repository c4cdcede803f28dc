"""The index: an overview of the service at `/`."""

from typing import Literal

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from app.settings import Settings
from songbook.auth import PUBLIC
from songbook.home import home_response
from songbook.http import Router

router = Router(tags=["index"], dependencies=[PUBLIC])


class Index(BaseModel):
    """The name, the documentation and the resources of the service."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)

    message: Literal["Hello World"] = "Hello World"
    name: str
    admin_email: str | None
    items_per_user: int
    documentation: str | None
    resources: list[str]


@router.get("/", response_model=Index)
async def read_index(request: Request) -> Response:
    """Return an overview of the service."""
    index = index_of(request.app, request.scope.get("root_path", ""))
    return await home_response(request, index)


def index_of(app: FastAPI, prefix: str) -> Index:
    """Return the index of a service under a prefix."""
    settings: Settings = app.state.service.settings
    records = [path for path in app.openapi()["paths"] if path.endswith("/{id}")]
    return Index(
        name=settings.project_name,
        admin_email=settings.admin_email,
        items_per_user=settings.items_per_user,
        documentation=f"{prefix}/docs" if settings.public_docs else None,
        resources=[prefix + path.removesuffix("/{id}") for path in records],
    )
