"""The parameters that several operations share, as components."""

import json
from collections.abc import Mapping
from itertools import chain, count
from typing import Any

Operations = list[dict[str, Any]]


def share_parameters(operations: Operations) -> dict[str, Any]:
    """Replace equal parameters of several operations by references; return them by their names.

    One that only the operations of one tag have is called after the tag, too.
    """
    uses: dict[str, Operations] = {}
    for operation in operations:
        for parameter in operation.get("parameters", []):
            uses.setdefault(json.dumps(parameter), []).append(operation)
    keys: dict[str, str] = {}
    for parameter, users in uses.items():
        if len(users) > 1:
            keys[parameter] = _key(json.loads(parameter), users, {*keys.values()})
    for operation in operations:
        if parameters := operation.get("parameters"):
            operation["parameters"] = [_reference(each, keys) for each in parameters]
    return {key: json.loads(text) for text, key in sorted(keys.items(), key=lambda each: each[1])}


def _key(parameter: dict[str, Any], users: Operations, taken: set[str]) -> str:
    name = parameter["name"] if parameter["in"] != "path" else f"path.{parameter['name']}"
    tags = list(dict.fromkeys(tag for user in users for tag in user.get("tags", [])))
    key = name if len(tags) != 1 else f"{tags[0]}.{name}"
    numbered = (f"{key}.{number}" for number in count(2))
    return next(each for each in chain([key], numbered) if each not in taken)


def _reference(parameter: dict[str, Any], keys: Mapping[str, str]) -> dict[str, Any]:
    key = keys.get(json.dumps(parameter))
    return {"$ref": f"#/components/parameters/{key}"} if key else parameter
