"""Views: what a request asks to see of a record beside its own members."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic_core import PydanticCustomError

from songbook.errors import UnprocessableContent, did_you_mean, query_error
from songbook.http import RelatedDependency, StrictRequest, read_options
from songbook.models import Relation, Representation


class View(NamedTuple):
    """What to show of a record beside its own members."""

    expand: tuple[Relation, ...] = ()


ITSELF = View()
"""The view of a record alone."""


def parse_expand(text: str, relations: Mapping[str, Relation]) -> tuple[Relation, ...]:
    """Return the relations that a text names. Raises PydanticCustomError for other names."""
    names = text.split(",")
    if unknown := [name for name in names if name not in relations]:
        hint = did_you_mean(unknown[0], [*relations])
        message = "Should be related resources, separated by commas{hint}"
        raise PydanticCustomError("expand", message, {"hint": hint})
    if len({*names}) < len(names):
        raise PydanticCustomError("expand", "Should name each resource only once")
    return tuple(relations[name] for name in names)


def expand_parameter(relations: Mapping[str, Relation]) -> dict[str, Any]:
    """Return the OpenAPI parameter."""
    return {
        "name": "expand",
        "in": "query",
        "description": "Related resources to show, separated by commas.",
        "style": "form",
        "explode": False,
        "schema": {
            "type": "array",
            "items": {"enum": [*relations]},
            "minItems": 1,
            "uniqueItems": True,
        },
    }


def view_of(shown: Representation) -> RelatedDependency[View]:
    """Return the dependency that parses `expand` for a record; for `Records.select`."""

    async def view(request: StrictRequest) -> View:
        relations = request.service.relations.of(shown.table, request.route.includes)
        declared = request.route.query_parameters
        known = [each for each in declared if relations or each["name"] != "expand"]
        texts = read_options(request.scope["query_string"], known)
        if "expand" not in texts:
            return ITSELF
        try:
            return View(parse_expand(texts["expand"][0], relations))
        except ValueError as error:
            raise UnprocessableContent(errors=[query_error("expand", error)]) from None

    return RelatedDependency(
        view,
        (expand_parameter({}),),
        (422,),
        shown=shown,
        describe=lambda relations: (expand_parameter(relations),) if relations else (),
    )
