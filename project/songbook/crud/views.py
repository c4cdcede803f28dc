"""Views: what a request asks to see of a record, and beside it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from pydantic_core import PydanticCustomError

from songbook.errors import UnprocessableContent, did_you_mean, query_error
from songbook.http import RelatedDependency, StrictRequest, read_options
from songbook.models import Relation, Representation


class View(NamedTuple):
    """What to show of a record: some of its members, or all, and related records."""

    expand: tuple[Relation, ...] = ()
    fields: tuple[str, ...] = ()
    """The members to show, in the order of the Public class; none for all of them."""


ITSELF = View()
"""The view of a whole record alone."""


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


def parse_fields(text: str, shown: Representation) -> tuple[str, ...]:
    """Return the members that a text names, in their order, and none if it names all.

    Raises PydanticCustomError for other names.
    """
    names = text.split(",")
    if unknown := [name for name in names if name not in shown.members]:
        hint = did_you_mean(unknown[0], shown.members)
        message = "Should be fields, separated by commas{hint}"
        raise PydanticCustomError("fields", message, {"hint": hint})
    if len({*names}) < len(names):
        raise PydanticCustomError("fields", "Should name each field only once")
    fields = tuple(name for name in shown.members if name in names)
    return () if fields == shown.members else fields


def fields_parameter(shown: Representation) -> dict[str, Any]:
    """Return the OpenAPI parameter."""
    return _names(
        "fields",
        "The fields to show, separated by commas: the response has no others, required or not.",
        shown.members,
    )


def expand_parameter(relations: Mapping[str, Relation]) -> dict[str, Any]:
    """Return the OpenAPI parameter."""
    description = "Related resources to show, each at most once, separated by commas."
    return _names("expand", description, relations)


def _names(name: str, description: str, names: Iterable[str]) -> dict[str, Any]:
    """Return a parameter whose value is some of these names."""
    either = "|".join(names)
    return {
        "name": name,
        "in": "query",
        "description": description,
        "schema": {
            "type": "string",
            "pattern": f"^({either})(,({either}))*$",
            "maxLength": max(len(either), 1),
        },
    }


def view_of(shown: Representation) -> RelatedDependency[View]:
    """Return the dependency that parses `fields` and `expand`, for `Records.select`."""
    fields = fields_parameter(shown)

    async def view(request: StrictRequest) -> View:
        if not request.scope["query_string"]:
            return ITSELF
        relations = request.service.relations.of(shown.table, request.route.includes)
        declared = request.route.query_parameters
        known = [each for each in declared if relations or each["name"] != "expand"]
        texts = read_options(request.scope["query_string"], known)
        return _parse_view(texts, shown, relations)

    return RelatedDependency(
        view,
        (fields, expand_parameter({})),
        (422,),
        shown=shown,
        describe=lambda relations: (
            (fields, expand_parameter(relations)) if relations else (fields,)
        ),
    )


def _parse_view(
    texts: Mapping[str, Sequence[str]], shown: Representation, relations: Mapping[str, Relation]
) -> View:
    """Return the view of the parameters. Raises UnprocessableContent."""
    parsers: dict[str, Callable[[str], Any]] = {
        "fields": partial(parse_fields, shown=shown),
        "expand": partial(parse_expand, relations=relations),
    }
    parsed, errors = {}, []
    for name in parsers.keys() & texts:
        try:
            parsed[name] = parsers[name](texts[name][0])
        except ValueError as error:
            errors.append(query_error(name, error))
    if errors:
        raise UnprocessableContent(errors=errors)
    return View(**parsed)
