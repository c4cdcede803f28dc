"""Query parameters that a handler declares with FastAPI, parsed as strictly as a list's."""

from collections import deque
from collections.abc import Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from fastapi.dependencies.models import Dependant
from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from songbook.errors import UnprocessableContent, field_error, query_error
from songbook.http.query_options import read_options
from songbook.http.requests import StrictRequest
from songbook.models import text_parser

_SEQUENCES = {list, tuple, set, frozenset, deque, Sequence}


class QueryParam:
    """One query parameter of a handler."""

    def __init__(self, name: str, info: FieldInfo) -> None:
        inner, alias = _without_none(info.annotation), info.validation_alias
        self._is_list = get_origin(inner) in _SEQUENCES
        self.name, self.alias, self.info = name, alias if isinstance(alias, str) else name, info
        schema: dict[str, Any] = {"type": "array"} if self._is_list else {"default": info.default}
        self.parameter = {"name": self.alias, "in": "query", "schema": schema}
        self._parse = text_parser(_without_none(get_args(inner)[0]) if self._is_list else inner)
        self._adapter = TypeAdapter[Any](info.rebuild_annotation())

    def read(self, texts: Sequence[str]) -> Any:
        """Parse the texts of the parameter, which are those of JSON. Raises ValueError."""
        values = [self._parse(text) for text in texts]
        return self._adapter.validate_python(values if self._is_list else values[0])


def query_params_of(dependant: Dependant) -> list[QueryParam]:
    """Return the query parameters of a handler; a model has one for each field."""
    params: list[QueryParam] = []
    for field in dependant.query_params:
        model, fields = field.field_info.annotation, {field.name: field.field_info}
        if isinstance(model, type) and issubclass(model, BaseModel):
            fields = model.model_fields
        params += [QueryParam(name, info) for name, info in fields.items()]
    return params


def read_params(request: StrictRequest, params: Sequence[QueryParam]) -> dict[str, Any]:
    """Return the values by the handler's argument names. Raises UnprocessableContent."""
    if not params:
        return {}
    options = read_options(
        request.scope["query_string"], request.route.query_parameters, request.route.defaults
    )
    values: dict[str, Any] = {}
    errors = []
    for param in params:
        if texts := options.get(param.alias):
            try:
                values[param.name] = param.read(texts)
            except ValueError as error:
                errors.append(query_error(param.alias, error))
        elif param.info.is_required():
            errors.append(field_error("query", param.alias, "Field required", "missing"))
        else:
            values[param.name] = param.info.get_default(call_default_factory=True)
    if errors:
        raise UnprocessableContent(errors=errors)
    return values


def _without_none(annotation: Any) -> Any:
    """Return the type without Annotated and None."""
    if get_origin(annotation) is Annotated:
        return _without_none(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType}:
        others = [each for each in get_args(annotation) if each is not NoneType]
        return _without_none(others[0]) if len(others) == 1 else annotation
    return annotation
