"""The OpenAPI document: FastAPI's, completed from dependencies, bodies and responses."""

import inspect
import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from fastapi import FastAPI
from pydantic import TypeAdapter

from songbook.db import MAX_CHILDREN
from songbook.errors import MEDIA_TYPE, ImportReport, ProblemDetails, title_of
from songbook.http import Route, ServiceState
from songbook.models import (
    Relation,
    Relations,
)
from songbook.openapi.examples import add_examples, add_parameter_examples
from songbook.openapi.files import row_of
from songbook.openapi.headers import HEADERS, references
from songbook.openapi.operations import TOKENS, complete, name_of
from songbook.openapi.parameters import share_parameters
from songbook.openapi.schemas import completed, sentence

_FROM_FASTAPI = ("HTTPValidationError", "ValidationError")
_SCHEMA = "#/components/schemas/{model}"

_DESCRIPTIONS = {
    503: "Service Unavailable: try again. Of the type `/problems/outcome-unknown`, without"
    " `Retry-After`, for a POST or PATCH without an `Idempotency-Key` that may be stored: read"
    " whether it is."
}
"""The descriptions of error responses that say more than the title."""

_Use = tuple[Literal["validation", "serialization"], Any]


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of the service (cached)."""
    if app.openapi_schema is not None:
        return app.openapi_schema
    document = FastAPI.openapi(app)
    document.setdefault("servers", [{"url": "/"}])
    service: ServiceState = app.state.service
    routes = [route for route in app.routes if isinstance(route, Route) and route.include_in_schema]
    errors: set[int] = set()
    for route in routes:
        for method in route.methods or ():
            operation = document["paths"][route.path_format][method.lower()]
            errors |= complete(operation, route, method, service)
    document["tags"] = _tags(document.get("tags", []), routes)
    components = document.setdefault("components", {})
    related = _related(routes, service.relations)
    schemas = {**components.get("schemas", {}), **_schemas(routes, related)}
    components["schemas"] = {
        name: schemas[name] for name in sorted(schemas) if name not in _FROM_FASTAPI
    }
    found = {name_of(status): _error_response(status) for status in sorted(errors)}
    components["responses"] = found | {"Problem": _problem("Any other error.")}
    if service.accounts:
        components["securitySchemes"] = _security(routes)
    rows = {route.name: row_of(route) for route in routes}
    app.openapi_schema = _finished(document, related, rows)
    return app.openapi_schema


def _finished(
    document: dict[str, Any], related: list[tuple[type, Relation]], rows: Mapping[str, str | None]
) -> dict[str, Any]:
    """Return the document with what follows from all of it: limits, examples, components.

    `rows` are the schemas of the rows in files, by operation.
    """
    document["components"]["headers"] = HEADERS
    document = {**document, **{name: completed(document[name]) for name in ("paths", "components")}}
    components = document["components"]
    operations = [operation for item in document["paths"].values() for operation in item.values()]
    for operation in operations:
        add_parameter_examples(operation, components["schemas"])
        add_examples(operation, components["schemas"], rows.get(operation.get("operationId")))
    _add_relations(components["schemas"], related)
    components["parameters"] = share_parameters(operations)
    text = json.dumps(document)
    components["headers"] = {
        name: each
        for name, each in components["headers"].items()
        if f'"#/components/headers/{name}"' in text
    }
    return document


def _tags(given: list[dict[str, Any]], routes: Iterable[Route]) -> list[dict[str, Any]]:
    """Return the tags of the routes; a service that does not describe one has the module's name."""
    tags = {tag["name"]: tag for tag in given}
    for route in routes:
        text = inspect.getdoc(inspect.getmodule(route.endpoint)) or ""
        for name in map(str, route.tags):
            title = text.partition("\n")[0].partition(":")[0].rstrip(".") or sentence(name)
            tags.setdefault(name, {"name": name, "description": f"{title}."})
    return [*tags.values()]


def _security(routes: Iterable[Route]) -> dict[str, Any]:
    """Return the security schemes, with the permissions of tokens that the routes require."""
    scopes = sorted({scope for route in routes for scope in route.permission.scopes})
    flow = {"tokenUrl": "api/auth/token", "scopes": {each: f"Permits {each}." for each in scopes}}
    return {**TOKENS, "password": {**TOKENS["password"], "flows": {"password": flow}}}


def _related(routes: Iterable[Route], relations: Relations) -> list[tuple[type, Relation]]:
    """Return the relations that the routes show, each with the class that gets the member."""
    return [
        (each.shown.public, relation)
        for route in routes
        for each in route.related_dependencies
        for relation in relations.of(each.shown.table, route.permission.includes).values()
    ]


def _add_relations(schemas: dict[str, Any], related: Iterable[tuple[type, Relation]]) -> None:
    """Add the members that `expand` shows to the schemas of responses."""
    for public, relation in related:
        record = {"$ref": _SCHEMA.format(model=relation.shown.public.__name__)}
        children = {"type": "array", "items": record, "maxItems": MAX_CHILDREN}
        shown = children if relation.many else {"anyOf": [record, {"type": "null"}]}
        described = {**shown, "description": f"Only with `expand={relation.name}`."}
        schemas[public.__name__]["properties"][relation.name] = described


def _schemas(routes: list[Route], related: Iterable[tuple[type, Relation]]) -> dict[str, Any]:
    """Return the schemas of all bodies from pydantic; FastAPI's have floats as bounds."""
    uses: list[_Use] = [("validation", body) for route in routes for body in route.bodies.values()]
    responses = [*[route.response_model for route in routes], ProblemDetails, ImportReport]
    responses += [each for public, relation in related for each in (public, relation.shown.public)]
    uses += [("serialization", model) for model in responses]
    adapters = [(mode, mode, TypeAdapter[Any](model)) for mode, model in uses if model]
    schemas: dict[str, Any] = TypeAdapter.json_schemas(adapters, ref_template=_SCHEMA)[1]["$defs"]
    return schemas


def _error_response(status: int) -> dict[str, Any]:
    more = {401: ["WWW-Authenticate"], 412: ["ETag"], 429: ["Retry-After"]}
    # for an Idempotency-Key in use; not for an unknown outcome
    sometimes = ["Retry-After"] if status in {409, 503} else []
    description = _DESCRIPTIONS.get(status, title_of(status))
    return _problem(description, references(["X-Request-ID", *more.get(status, [])], sometimes))


def _problem(description: str, headers: dict[str, Any] | None = None) -> dict[str, Any]:
    schema = {"$ref": _SCHEMA.format(model="ProblemDetails")}
    return {
        "description": description,
        "headers": headers or references(["X-Request-ID"]),
        "content": {MEDIA_TYPE: {"schema": schema}},
    }
