"""The OpenAPI document: what the routes declare, and what their guards, bodies and answers add."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app.problems import MEDIA_TYPE, ProblemDetails, title_of
from app.routing import Route

_BODY = (400, 413, 415, 422)
_REF = "#/components/schemas/{model}"


def _header(description: str, kind: str = "string") -> dict[str, Any]:
    return {"description": description, "schema": {"type": kind}}


_HEADERS = {
    "ETag": _header("The entity tag of this answer."),
    "Location": _header("The address of what was created."),
    "Link": _header('The address of the next page, `rel="next"`, when there is one.'),
    "X-Total-Count": _header("The number of all rows, with `count=exact`.", "integer"),
    "X-Request-ID": _header("The id under which the request is logged."),
    "Allow": _header("The methods of this address."),
    "Retry-After": _header("After how many seconds to try again.", "integer"),
}


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of the service, made once."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas.pop("HTTPValidationError", None)
        schemas.pop("ValidationError", None)
        problem = ProblemDetails.model_json_schema(mode="serialization", ref_template=_REF)
        schemas |= problem.pop("$defs") | {"ProblemDetails": problem}
        for route in app.routes:
            if isinstance(route, Route) and route.include_in_schema:
                for method in route.methods or ():
                    _complete(document["paths"][route.path_format][method.lower()], route, method)
        app.openapi_schema = document
    return app.openapi_schema


def _complete(operation: dict[str, Any], route: Route, method: str) -> None:
    """Add to an operation what its guards read and refuse, and the headers of its answers."""
    guards = route.guards.values()
    parameters = [parameter for guard in guards for parameter in guard.parameters]
    if parameters:
        operation["parameters"] = parameters + operation.get("parameters", [])
    responses = operation["responses"]
    refused = {status for guard in guards for status in guard.refuses}
    if route.bodies:
        refused |= set(_BODY)
        if method == "PATCH":
            content = operation["requestBody"]["content"]
            content["application/merge-patch+json"] = content["application/json"]
    responses.pop("422", None)
    names = {parameter["name"] for parameter in parameters}
    for status in sorted(refused):
        responses[str(status)] = _failure(status)
    for status, response in responses.items():
        response["headers"] = {
            name: _HEADERS[name] for name in _headers_of(int(status), names, route, method)
        }
    if "If-None-Match" in names:
        responses["304"] = {
            "description": "The client has this answer already.",
            "headers": {"ETag": _HEADERS["ETag"]},
        }


def _failure(status: int) -> dict[str, Any]:
    """Return the description of a failure."""
    schema = {"$ref": _REF.format(model="ProblemDetails")}
    return {"description": title_of(status), "content": {MEDIA_TYPE: {"schema": schema}}}


def _headers_of(status: int, names: set[str], route: Route, method: str) -> list[str]:
    """Return the headers that an answer may carry."""
    found = ["X-Request-ID"]
    if status == 503:
        found.append("Retry-After")
    if status == 412 or (
        status < 300 and method != "DELETE" and route.response_model and "db" in route.guards
    ):
        found.append("ETag")
    if status == 201:
        found.append("Location")
    if status == 200 and "limit" in names:
        found += ["Link", "X-Total-Count"]
    return found
