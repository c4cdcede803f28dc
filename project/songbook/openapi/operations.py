"""The operations of the document, completed from dependencies, bodies and responses."""

from collections.abc import Mapping
from decimal import Decimal
from functools import partial
from typing import Any

from songbook.auth import optional_user
from songbook.errors import title_of
from songbook.http import JSON, MERGE_PATCH, MULTIPART, Route, ServiceState
from songbook.lists import DELETED_PARAMETER
from songbook.models import (
    Relations,
    Schema,
    conflicting_fields,
    field_type_of,
    mapped_classes,
)
from songbook.openapi.files import describe_file, parameters_of
from songbook.openapi.headers import headers_of
from songbook.openapi.schemas import sentence

_BODY = (400, 413, 415, 422)
_UPLOAD = (*_BODY, 408, 503, 507)
TOKENS = {
    "password": {
        "type": "oauth2",
        "description": "Username or e-mail address, and password; see RFC8725 for the token.",
    },
    "token": {
        "type": "http",
        "description": "A token that was obtained before, of one algorithm and type (RFC8725).",
        "scheme": "bearer",
        "bearerFormat": "JWT",
    },
}
"""The security schemes: a login, and the token that it gives."""

_OTHER_FORMS = (
    ({int, float, bool}, 'Numbers and booleans may also be strings, such as `"1"` or `"true"`.'),
    ({Decimal}, "Decimals may also be numbers of up to 15 digits."),
)
"""What bodies accept beside the types of their schemas, which clients are generated from."""


def complete(
    operation: dict[str, Any], route: Route, method: str, service: ServiceState
) -> set[int]:
    """Add parameters, responses and headers to an operation; return its error statuses."""
    dependencies = route.request_dependencies.values()
    errors = {status for one in dependencies for status in one.error_statuses_for(method)}
    if route.bulk and route.file_type:
        errors |= {*route.bulk.error_statuses}
    names = _add_parameters(operation, route, method, service)
    operation["operationId"] = route.name
    operation["summary"] = route.summary or sentence(route.name)
    _add_formats(operation, route, names)
    responses: dict[str, dict[str, Any]] = operation["responses"]
    errors |= {int(status) for status in responses if int(status) >= 400}
    errors |= {500, *_of_body(route), *_conflicts(route, method, service.relations)}
    operation["x-rule"] = route.permission.name
    errors |= _add_security(operation, route, method, service)
    if min(errors) >= 500:  # a request can always be malformed
        errors.add(400)
    _add_headers(responses, names, route)
    _add_errors(operation, errors)
    return errors


def _add_parameters(
    operation: dict[str, Any], route: Route, method: str, service: ServiceState
) -> set[str]:
    """Add the parameters of the dependencies before the handler's own; return their names."""
    related = partial(service.relations.of, includes=route.permission.includes)
    parameters = parameters_of(route, method, related)
    if service.accounts is None and DELETED_PARAMETER in parameters:
        parameters.remove(DELETED_PARAMETER)
    own = [
        {"description": f"{sentence(each['name'])}.", **each}
        for each in operation.pop("parameters", [])
        if _is_read(each, route)
    ]
    if parameters or own:
        operation["parameters"] = parameters + own
    return {parameter["name"] for parameter in parameters}


def _add_errors(operation: dict[str, Any], errors: set[int]) -> None:
    """Add references to the responses of errors, and to that of all others."""
    named = {str(status): name_of(status) for status in errors} | {"default": "Problem"}
    others = {status: {"$ref": f"#/components/responses/{name}"} for status, name in named.items()}
    operation["responses"] = dict(sorted({**operation["responses"], **others}.items()))


def _is_read(parameter: Mapping[str, Any], route: Route) -> bool:
    """Return whether a parameter of the handler is read, which no import calls."""
    return parameter["in"] == "path" or not (route.bulk and route.file_type)


def _add_security(
    operation: dict[str, Any], route: Route, method: str, service: ServiceState
) -> set[int]:
    """Add the tokens that are required or optional; return the statuses of refusals."""
    tokens = [{name: [*route.permission.scopes]} for name in TOKENS]
    operation["security"] = []
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


def _add_formats(operation: dict[str, Any], route: Route, names: set[str]) -> None:
    """Describe files, and the other forms of bodies and responses."""
    if route.file_type:
        describe_file(operation, route)
    elif route.bodies:
        _describe_body(operation["requestBody"], route)
    if "dry_run" in names:
        _add_dry_run(operation["responses"])
    if "If-None-Match" in names:
        operation["responses"]["304"] = {"description": "The response has not changed."}


def _describe_body(body: dict[str, Any], route: Route) -> None:
    """Say what is accepted beside what the schema says."""
    infos = [info for model in route.bodies.values() for info in model.model_fields.values()]
    types = {type_.python_type for info in infos if (type_ := field_type_of(info.annotation))}
    texts = [text for kinds, text in _OTHER_FORMS if types & kinds]
    texts += [f"`{MERGE_PATCH}` is accepted, too."] if MERGE_PATCH in route.media_types else []
    if texts:
        body["description"] = " ".join(texts)


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


def name_of(status: int) -> str:
    """Return the name of the component for the response of an error."""
    return title_of(status).replace(" ", "")
