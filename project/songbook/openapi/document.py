"""The OpenAPI document: FastAPI's, completed from dependencies, bodies and responses."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Literal

from fastapi import FastAPI
from pydantic import TypeAdapter

from songbook.auth import optional_user
from songbook.db import MAX_CHILDREN
from songbook.errors import MEDIA_TYPE, ImportReport, ProblemDetails, title_of
from songbook.http import (
    JSON,
    MERGE_PATCH,
    MULTIPART,
    RelatedDependency,
    Route,
    ServiceState,
)
from songbook.lists import DELETED_PARAMETER
from songbook.models import Relation, Relations, Schema, conflicting_fields, mapped_classes
from songbook.openapi.files import describe_file, parameters_of
from songbook.openapi.headers import HEADERS, headers_of, references

_BODY = (400, 413, 415, 422)
_UPLOAD = (*_BODY, 408, 503, 507)
_FROM_FASTAPI = ("HTTPValidationError", "ValidationError")
_SCHEMA = "#/components/schemas/{model}"

_DESCRIPTIONS = {
    503: "Service Unavailable: try again. Of the type `/problems/outcome-unknown`, without"
    " `Retry-After`, for a POST or PATCH without an `Idempotency-Key` that may be stored: read"
    " whether it is."
}
"""The descriptions of error responses that say more than the title."""

_Use = tuple[Literal["validation", "serialization"], Any]

_SECURITY = {
    "password": {
        "type": "oauth2",
        "description": "Username or e-mail address, and password.",
    },
    "token": {
        "type": "http",
        "description": "A token that was obtained before.",
        "scheme": "bearer",
        "bearerFormat": "JWT",
    },
}


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of the service (cached)."""
    if app.openapi_schema is not None:
        return app.openapi_schema
    document = FastAPI.openapi(app)
    service: ServiceState = app.state.service
    routes = [route for route in app.routes if isinstance(route, Route) and route.include_in_schema]
    errors: set[int] = set()
    for route in routes:
        for method in route.methods or ():
            operation = document["paths"][route.path_format][method.lower()]
            errors |= _complete(operation, route, method, service)
    components = document.setdefault("components", {})
    related = _related(routes, service.relations)
    schemas = {**components.get("schemas", {}), **_schemas(routes, related)}
    _add_relations(schemas, related)
    components["schemas"] = {
        name: schemas[name] for name in sorted(schemas) if name not in _FROM_FASTAPI
    }
    components["responses"] = {_name(status): _error_response(status) for status in sorted(errors)}
    components["headers"] = HEADERS
    if service.accounts:
        components["securitySchemes"] = _security(routes)
    return document


def _security(routes: Iterable[Route]) -> dict[str, Any]:
    """Return the security schemes, with the permissions of tokens that the routes require."""
    scopes = sorted({scope for route in routes for scope in route.permission.scopes})
    flow = {"tokenUrl": "api/auth/token", "scopes": {each: f"Permits {each}." for each in scopes}}
    return {**_SECURITY, "password": {**_SECURITY["password"], "flows": {"password": flow}}}


def _related(routes: Iterable[Route], relations: Relations) -> list[tuple[type, Relation]]:
    """Return the relations that the routes show, each with the class that gets the member."""
    return [
        (each.shown.public, relation)
        for route in routes
        for each in route.request_dependencies.values()
        if isinstance(each, RelatedDependency)
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


def _complete(
    operation: dict[str, Any], route: Route, method: str, service: ServiceState
) -> set[int]:
    """Add parameters, responses and headers to an operation; return its error statuses."""
    dependencies = route.request_dependencies.values()
    related = partial(service.relations.of, includes=route.permission.includes)
    parameters = parameters_of(route, method, related)
    if service.accounts is None and DELETED_PARAMETER in parameters:
        parameters.remove(DELETED_PARAMETER)
    errors = {status for one in dependencies for status in one.error_statuses_for(method)}
    if route.bulk and route.file_type:
        errors |= {*route.bulk.error_statuses}
    own = [each for each in operation.pop("parameters", []) if _is_read(each, route)]
    if parameters or own:
        operation["parameters"] = parameters + own
    operation["operationId"] = route.name
    names = {parameter["name"] for parameter in parameters}
    _add_formats(operation, route, method, names)
    responses: dict[str, dict[str, Any]] = operation["responses"]
    errors |= {int(status) for status in responses if int(status) >= 400}
    errors |= {*_of_body(route), *_conflicts(route, method, service.relations)}
    operation["x-rule"] = route.permission.name
    errors |= _add_security(operation, route, method, service)
    _add_headers(responses, names, route)
    responses |= {
        str(status): {"$ref": f"#/components/responses/{_name(status)}"} for status in errors
    }
    operation["responses"] = dict(sorted(responses.items()))
    return errors


def _is_read(parameter: Mapping[str, Any], route: Route) -> bool:
    """Return whether a parameter of the handler is read, which no import calls."""
    return parameter["in"] == "path" or not (route.bulk and route.file_type)


def _add_security(
    operation: dict[str, Any], route: Route, method: str, service: ServiceState
) -> set[int]:
    """Add the tokens that are required or optional; return the statuses of refusals."""
    tokens = [{name: [*route.permission.scopes]} for name in _SECURITY]
    lists_deleted = DELETED_PARAMETER in operation.get("parameters", [])
    if route.permission.requires_user(method, service.settings):
        operation["security"] = tokens
        return {*route.permission.error_statuses, *([403] if lists_deleted else [])}
    if lists_deleted or optional_user in route.request_dependencies.values():
        operation["security"] = [{}, *tokens]
    return {401, 403} if lists_deleted else set()


def _of_body(route: Route) -> tuple[int, ...]:
    """Return the error statuses of the body."""
    if MULTIPART in route.media_types:
        return _UPLOAD
    return _BODY if route.bodies else ()


def _add_headers(responses: dict[str, dict[str, Any]], names: set[str], route: Route) -> None:
    for status, response in responses.items():
        response["headers"] = headers_of(int(status), names, route)
        for content in response.get("content", {}).values():
            content["schema"].pop("title", None)


def _add_formats(operation: dict[str, Any], route: Route, method: str, names: set[str]) -> None:
    """Describe files, and add the other media types of the body and the responses."""
    if route.file_type:
        describe_file(operation, route)
    if "dry_run" in names:
        _add_dry_run(operation["responses"])
    if route.bodies and method == "PATCH":
        content = operation["requestBody"]["content"]
        content[MERGE_PATCH] = content[JSON]
    if "If-None-Match" in names:
        operation["responses"]["304"] = {"description": "The response has not changed."}


def _add_dry_run(responses: dict[str, Any]) -> None:
    """Add the response to a dry run: 200 in place of 201 or 204."""
    dry_run: dict[str, Any] = {"description": "The response to a dry run"}
    if "201" in responses:
        dry_run["content"] = {JSON: {**responses["201"]["content"][JSON]}}
    responses.setdefault("200", dry_run)


def _conflicts(route: Route, method: str, relations: Relations) -> list[int]:
    """Return 409 for a body with unique fields or references, and where children may refer."""
    if method == "DELETE" and relations.is_referred_to(route.path.rpartition("/{")[0]):
        return [409]
    for body in route.bodies.values():
        bases = {base for base in body.__mro__ if issubclass(base, Schema)} - {Schema}
        for model in mapped_classes():
            if bases & {*model.__mro__} and conflicting_fields(model) & body.model_fields.keys():
                return [409]
    return []


def _error_response(status: int) -> dict[str, Any]:
    schema = {"$ref": _SCHEMA.format(model="ProblemDetails")}
    more = {401: ["WWW-Authenticate"], 412: ["ETag"], 429: ["Retry-After"]}
    headers = references(["X-Request-ID", *more.get(status, [])])
    if status in {409, 503}:  # for an Idempotency-Key in use; not for an unknown outcome
        headers["Retry-After"] = HEADERS["Retry-After"] | {"required": False}
    return {
        "description": _DESCRIPTIONS.get(status, title_of(status)),
        "headers": headers,
        "content": {MEDIA_TYPE: {"schema": schema}},
    }


def _name(status: int) -> str:
    return title_of(status).replace(" ", "")
