"""A request from the socket to the handler: middleware, routes, bodies, dependencies."""

from songbook.http.dependencies import (
    Alternative,
    DatabaseDep,
    Guard,
    Id,
    Rule,
    SessionDep,
    SettingsDep,
    guard,
    record_id,
)
from songbook.http.dispatch import add_alias
from songbook.http.media_types import CSV, ENDINGS, JSON, NDJSON, STALLED_SECONDS, preferred
from songbook.http.middleware import Front
from songbook.http.query_options import DRY_RUN, grouped, is_tried, option, read_options, read_pairs
from songbook.http.requests import (
    FORM,
    NotJson,
    StrictRequest,
    check_declared,
    decode_json,
    media_type_of,
)
from songbook.http.responses import Answer
from songbook.http.routing import Route, Router

__all__ = [
    "CSV",
    "DRY_RUN",
    "ENDINGS",
    "FORM",
    "JSON",
    "NDJSON",
    "STALLED_SECONDS",
    "Alternative",
    "Answer",
    "DatabaseDep",
    "Front",
    "Guard",
    "Id",
    "NotJson",
    "Route",
    "Router",
    "Rule",
    "SessionDep",
    "SettingsDep",
    "StrictRequest",
    "add_alias",
    "check_declared",
    "decode_json",
    "grouped",
    "guard",
    "is_tried",
    "media_type_of",
    "option",
    "preferred",
    "read_options",
    "read_pairs",
    "record_id",
]
