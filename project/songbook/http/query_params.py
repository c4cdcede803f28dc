"""Query parameters that a handler declares as FastAPI has them, read as strictly as a list's."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from fastapi.dependencies.models import Dependant
from pydantic import TypeAdapter

from songbook.errors import Unacceptable, field_error, query_error
from songbook.http.query_options import Parameter, read_options
from songbook.http.requests import StrictRequest
from songbook.models import text_parser


@dataclass(frozen=True)
class QueryParam:
    """One query parameter of a handler."""

    name: str
    alias: str
    default: Any
    is_required: bool
    is_list: bool
    parse: Callable[[str], Any]
    adapter: TypeAdapter[Any]

    def read(self, values: Sequence[str]) -> Any:
        """Return the value; raise ValueError if a text is not spelled as JSON spells the type."""
        parsed = [self.parse(value) for value in values]
        return self.adapter.validate_python(parsed if self.is_list else parsed[0])

    @property
    def parameter(self) -> Parameter:
        """Return what tells whether it may be repeated."""
        return {
            "name": self.alias,
            "in": "query",
            "schema": {"type": "array"} if self.is_list else {},
        }


def query_params_of(dependant: Dependant) -> tuple[QueryParam, ...]:
    """Return the query parameters that a handler itself declares."""
    return tuple(_param(field.name, field.field_info) for field in dependant.query_params)


def _param(name: str, info: Any) -> QueryParam:
    inner = _without_none(info.annotation)
    is_list = get_origin(inner) in {list, tuple, set, frozenset}
    return QueryParam(
        name=name,
        alias=info.alias or name,
        default=None if info.is_required() else info.get_default(call_default_factory=True),
        is_required=info.is_required(),
        is_list=is_list,
        parse=text_parser(get_args(inner)[0] if is_list else inner),
        adapter=TypeAdapter(Annotated[info.annotation, info]),
    )


def read_params(request: StrictRequest, params: Sequence[QueryParam]) -> dict[str, Any]:
    """Return the values of the query parameters by the names of the handler's arguments.

    Raises Unacceptable for what does not fit, is missing, repeated or unknown.
    """
    given = read_options(request.scope["query_string"], request.route.query_parameters)
    values, errors = {}, []
    for param in params:
        if texts := given.get(param.alias):
            try:
                values[param.name] = param.read(texts)
            except ValueError as error:
                errors.append(query_error(param.alias, error))
        elif param.is_required:
            errors.append(field_error("query", param.alias, "Field required", "missing"))
        else:
            values[param.name] = deepcopy(param.default)
    if errors:
        raise Unacceptable(errors=errors)
    return values


def _without_none(annotation: Any) -> Any:
    """Return the type of the values, of an optional parameter too."""
    if get_origin(annotation) is Annotated:
        return _without_none(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType}:
        others = [each for each in get_args(annotation) if each is not NoneType]
        return _without_none(others[0]) if len(others) == 1 else annotation
    return annotation
