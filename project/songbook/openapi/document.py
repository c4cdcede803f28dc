"""The OpenAPI document: what routes declare, and what dependencies, bodies and answers add."""

from typing import Any, Literal

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter

from songbook.config import Settings
from songbook.errors import MEDIA_TYPE, ImportReport, ProblemDetails, title_of
from songbook.http import Parameter, Permission, Route
from songbook.models import Fields, mapped_classes, unique_fields
from songbook.openapi.bulk import add_exports, add_imports, add_tries
from songbook.openapi.headers import HEADERS, headers_of, references

_BODY = (400, 413, 415, 422)
_FROM_FASTAPI = ("HTTPValidationError", "ValidationError")
_SCHEMA = "#/components/schemas/{model}"

_Use = tuple[Literal["validation", "serialization"], Any]


_SECURITY = {
    "password": {
        "type": "oauth2",
        "description": "A name or an e-mail, and the password.",
        "flows": {"password": {"tokenUrl": "api/auth/token", "scopes": {}}},
    },
    "token": {
        "type": "http",
        "description": "A token that is at hand already.",
        "scheme": "bearer",
        "bearerFormat": "JWT",
    },
}


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of the service, made once."""
    if app.openapi_schema is None:
        document = _fastapi_document(app)
        routes = [
            route for route in app.routes if isinstance(route, Route) and route.include_in_schema
        ]
        failures: set[int] = set()
        for route in routes:
            for method in route.methods or ():
                operation = document["paths"][route.path_format][method.lower()]
                failures |= _complete(operation, route, method, app.state.service.settings)
        components = document.setdefault("components", {})
        schemas = {**components.get("schemas", {}), **_schemas(routes)}
        components["schemas"] = {
            name: schemas[name] for name in sorted(schemas) if name not in _FROM_FASTAPI
        }
        components["responses"] = {_name(status): _failure(status) for status in sorted(failures)}
        components["headers"] = HEADERS
        if app.state.service.accounts:
            components["securitySchemes"] = _SECURITY
        app.openapi_schema = document
    return app.openapi_schema


def _fastapi_document(app: FastAPI) -> dict[str, Any]:
    """Return the document that FastAPI makes of the service."""
    return get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        contact=app.contact,
        license_info=app.license_info,
        terms_of_service=app.terms_of_service,
        servers=app.servers,
        routes=app.routes,
    )


def _schemas(routes: list[Route]) -> dict[str, Any]:
    """Return the schemas of all bodies as pydantic writes them; FastAPI makes floats of bounds."""
    read: list[_Use] = [("validation", body) for route in routes for body in route.bodies.values()]
    written: list[_Use] = [("serialization", route.response_model) for route in routes]
    uses = [
        *read,
        *written,
        *[("serialization", model) for model in (ProblemDetails, ImportReport)],
    ]
    adapters = [(mode, mode, TypeAdapter[Any](model)) for mode, model in uses if model]
    found: dict[str, Any] = TypeAdapter.json_schemas(adapters, ref_template=_SCHEMA)[1]["$defs"]
    return found


def _complete(operation: dict[str, Any], route: Route, method: str, settings: Settings) -> set[int]:
    """Add what the dependencies read and refuse, and the headers; return the failures."""
    parameters, refused = _declared(route, method)
    if parameters:
        operation["parameters"] = parameters + operation.get("parameters", [])
    operation["operationId"] = route.name
    names = {parameter["name"] for parameter in parameters}
    _add_formats(operation, route, method, names)
    responses: dict[str, dict[str, Any]] = operation["responses"]
    failures = {int(status) for status in responses if int(status) >= 400}
    failures |= refused
    if route.bodies:
        failures |= {*_BODY, *([409] if _may_conflict(route) else ())}
    asks = route.permission.requires_user(method, settings)
    failures |= _admit(operation, route.permission, asks=asks)
    for status, response in responses.items():
        response["headers"] = headers_of(int(status), names, route)
        for content in response.get("content", {}).values():
            content["schema"].pop("title", None)
    responses |= {
        str(status): {"$ref": f"#/components/responses/{_name(status)}"} for status in failures
    }
    operation["responses"] = dict(sorted(responses.items()))
    return failures


def _declared(route: Route, method: str) -> tuple[list[Parameter], set[int]]:
    """Return the parameters that the dependencies of a route read, and how they refuse."""
    parameters: list[Parameter] = []
    refused: set[int] = set()
    for each in route.request_dependencies.values():
        parameters += each.parameters_for(method)
        refused |= each.error_statuses_for(method)
    if route.bulk:
        parameters += route.bulk.parameters
        refused |= {*route.bulk.error_statuses}
    return parameters, refused


def _add_formats(operation: dict[str, Any], route: Route, method: str, names: set[str]) -> None:
    """Add to an operation the other formats of its body and its answers."""
    if route.bulk:
        add_imports(operation, route.bulk.media_types)
    if "limit" in names:
        add_exports(operation)
    if "dry_run" in names:
        add_tries(operation)
    if route.bodies and method == "PATCH":
        content = operation["requestBody"]["content"]
        content["application/merge-patch+json"] = content["application/json"]
    if "If-None-Match" in names:
        operation["responses"]["304"] = {"description": "The client has this answer already."}


def _may_conflict(route: Route) -> bool:
    """Return whether a body writes what has to be unique in the table of its Base class."""
    for body in route.bodies.values():
        bases = {base for base in body.__mro__ if issubclass(base, Fields)} - {Fields}
        for model in mapped_classes():
            if bases & {*model.__mro__} and unique_fields(model) & body.model_fields.keys():
                return True
    return False


def _admit(operation: dict[str, Any], permission: Permission, *, asks: bool) -> set[int]:
    """Add to an operation who may call it; return the failures of those who may not."""
    operation["x-rule"] = permission.name
    if not asks:
        return set()
    operation["security"] = [{name: []} for name in _SECURITY]
    return set(permission.error_statuses)


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
