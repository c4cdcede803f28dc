"""The OpenAPI document: FastAPI's, and what dependencies, bodies and answers add to it."""

from typing import Any, Literal

from fastapi import FastAPI
from pydantic import TypeAdapter

from songbook.config import Settings
from songbook.errors import MEDIA_TYPE, ImportReport, ProblemDetails, title_of
from songbook.http import CSV, FILE_SUFFIXES, JSON, MERGE_PATCH, NDJSON, Route, ServiceState
from songbook.models import Schema, mapped_classes, unique_fields
from songbook.openapi.headers import HEADERS, headers_of, references

_BODY = (400, 413, 415, 422)
_FROM_FASTAPI = ("HTTPValidationError", "ValidationError")
_SCHEMA = "#/components/schemas/{model}"

_TEXTS = {
    CSV: "A header with the field names, then one record per row (RFC 4180).",
    NDJSON: "One JSON object per line.",
}

_Use = tuple[Literal["validation", "serialization"], Any]

_SECURITY = {
    "password": {
        "type": "oauth2",
        "description": "Username or e-mail address, and password.",
        "flows": {"password": {"tokenUrl": "api/auth/token", "scopes": {}}},
    },
    "token": {
        "type": "http",
        "description": "A token that was obtained before.",
        "scheme": "bearer",
        "bearerFormat": "JWT",
    },
}


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of the service, made once."""
    if app.openapi_schema is not None:
        return app.openapi_schema
    document = FastAPI.openapi(app)
    service: ServiceState = app.state.service
    routes = [route for route in app.routes if isinstance(route, Route) and route.include_in_schema]
    failures: set[int] = set()
    for route in routes:
        for method in route.methods or ():
            operation = document["paths"][route.path_format][method.lower()]
            failures |= _complete(operation, route, method, service.settings)
    components = document.setdefault("components", {})
    schemas = {**components.get("schemas", {}), **_schemas(routes)}
    components["schemas"] = {
        name: schemas[name] for name in sorted(schemas) if name not in _FROM_FASTAPI
    }
    components["responses"] = {_name(status): _failure(status) for status in sorted(failures)}
    components["headers"] = HEADERS
    if service.accounts:
        components["securitySchemes"] = _SECURITY
    return document


def _schemas(routes: list[Route]) -> dict[str, Any]:
    """Return the schemas of all bodies as pydantic writes them; FastAPI makes floats of bounds."""
    uses: list[_Use] = [("validation", body) for route in routes for body in route.bodies.values()]
    shown = [*[route.response_model for route in routes], ProblemDetails, ImportReport]
    uses += [("serialization", model) for model in shown]
    adapters = [(mode, mode, TypeAdapter[Any](model)) for mode, model in uses if model]
    found: dict[str, Any] = TypeAdapter.json_schemas(adapters, ref_template=_SCHEMA)[1]["$defs"]
    return found


def _complete(operation: dict[str, Any], route: Route, method: str, settings: Settings) -> set[int]:
    """Add what the dependencies read and refuse, and the headers; return the failures."""
    dependencies = route.request_dependencies.values()
    parameters = [each for one in dependencies for each in one.parameters_for(method)]
    failures = {status for one in dependencies for status in one.error_statuses_for(method)}
    if route.bulk:
        parameters += route.bulk.parameters
        failures |= {*route.bulk.error_statuses}
    if parameters:
        operation["parameters"] = parameters + operation.get("parameters", [])
    operation["operationId"] = route.name
    names = {parameter["name"] for parameter in parameters}
    _add_formats(operation, route, method, names)
    responses: dict[str, dict[str, Any]] = operation["responses"]
    failures |= {int(status) for status in responses if int(status) >= 400}
    if route.bodies:
        failures |= {*_BODY, *([409] if _may_conflict(route) else ())}
    operation["x-rule"] = route.permission.name
    if route.permission.requires_user(method, settings):
        operation["security"] = [{name: []} for name in _SECURITY]
        failures |= {*route.permission.error_statuses}
    for status, response in responses.items():
        response["headers"] = headers_of(int(status), names, route)
        for content in response.get("content", {}).values():
            content["schema"].pop("title", None)
    responses |= {
        str(status): {"$ref": f"#/components/responses/{_name(status)}"} for status in failures
    }
    operation["responses"] = dict(sorted(responses.items()))
    return failures


def _add_formats(operation: dict[str, Any], route: Route, method: str, names: set[str]) -> None:
    """Add to an operation the other formats of its body and its answers."""
    if route.bulk:
        _add_imports(operation, route.bulk.media_types)
    if "limit" in names:
        operation["responses"]["200"]["content"] |= {
            media_type: {"schema": {"type": "string", "description": _TEXTS[media_type]}}
            for media_type in FILE_SUFFIXES
        }
    if "dry_run" in names:
        _add_dry_run(operation["responses"])
    if route.bodies and method == "PATCH":
        content = operation["requestBody"]["content"]
        content[MERGE_PATCH] = content[JSON]
    if "If-None-Match" in names:
        operation["responses"]["304"] = {"description": "The response has not changed."}


def _add_imports(operation: dict[str, Any], media_types: tuple[str, ...]) -> None:
    """Let the body of a POST have many rows, and its answer tell what became of them."""
    body = operation["requestBody"]["content"]
    for media_type in media_types:
        rows = {"type": "array", "items": body[JSON]["schema"], "description": _TEXTS[media_type]}
        body[media_type] = {"schema": rows}
    created = operation["responses"]["201"]
    report = {"$ref": _SCHEMA.format(model="ImportReport")}
    created["content"][JSON]["schema"] = {"anyOf": [created["content"][JSON]["schema"], report]}
    created["description"] = "The created record, or the report of an import"


def _add_dry_run(responses: dict[str, Any]) -> None:
    """Let a write be tried: it answers 200 where it would answer 201 or 204."""
    dry_run: dict[str, Any] = {"description": "The response to a dry run"}
    if "201" in responses:
        dry_run["content"] = {JSON: {**responses["201"]["content"][JSON]}}
    responses.setdefault("200", dry_run)


def _may_conflict(route: Route) -> bool:
    """Return whether a body writes what has to be unique in the table of its Base class."""
    for body in route.bodies.values():
        bases = {base for base in body.__mro__ if issubclass(base, Schema)} - {Schema}
        for model in mapped_classes():
            if bases & {*model.__mro__} and unique_fields(model) & body.model_fields.keys():
                return True
    return False


def _failure(status: int) -> dict[str, Any]:
    """Return the description of a failure."""
    schema = {"$ref": _SCHEMA.format(model="ProblemDetails")}
    more = {401: ["WWW-Authenticate"], 412: ["ETag"], 429: ["Retry-After"], 503: ["Retry-After"]}
    headers = references(["X-Request-ID", *more.get(status, [])])
    if status == 409:  # of a key that is in use
        headers["Retry-After"] = HEADERS["Retry-After"] | {"required": False}
    return {
        "description": title_of(status),
        "headers": headers,
        "content": {MEDIA_TYPE: {"schema": schema}},
    }


def _name(status: int) -> str:
    return title_of(status).replace(" ", "")
