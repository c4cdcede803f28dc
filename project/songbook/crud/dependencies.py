"""The dependencies of handlers that read: the id in the path, and the database."""

import re
from typing import Annotated

from fastapi import Depends

from songbook.db import Database
from songbook.errors import UnprocessableContent, field_error
from songbook.http import Dependency, StrictRequest, dependency, read_options
from songbook.models import INT8

_DIGITS = re.compile(r"[0-9]+")
_MAX_DIGITS = 100


def path_id(name: str, description: str) -> Dependency[int]:
    """Return the dependency that reads the id of a record from the parameter `name` of the path."""
    parameter = {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": {"type": "integer", "minimum": 1, "maximum": INT8[1]},
    }

    async def read_id(request: StrictRequest) -> int:
        """Return the id, 0 beyond BIGINT. Raises UnprocessableContent for other texts."""
        text = request.path_params[name]
        if not _DIGITS.fullmatch(text):
            raise UnprocessableContent(
                errors=[field_error("path", name, "Should be decimal digits", "int_parsing")]
            )
        return int(text) if len(text) <= _MAX_DIGITS and int(text) <= INT8[1] else 0

    return Dependency(read_id, (parameter,), error_statuses=(404, 422))


record_id = path_id("id", "The id of the record.")


@dependency(error_statuses=(422, 503))
async def read(request: StrictRequest) -> Database:
    """Return the database. Raises UnprocessableContent for an unknown query parameter."""
    if request.scope["query_string"] and not request.route.parses_query:
        read_options(request.scope["query_string"], request.route.query_parameters)
    return request.database


Id = Annotated[int, Depends(record_id)]
ReadDep = Annotated[Database, Depends(read)]
