"""A request from the socket to the handler: middleware, routes, bodies, dependencies."""

from songbook.http.completion import Completion, Opened
from songbook.http.dependencies import (
    KEYED_METHODS,
    BulkBody,
    Dependency,
    Permission,
    SettingsDep,
    dependency,
    opening_dependency,
)
from songbook.http.dispatch import add_alias
from songbook.http.media_types import CSV, ENDINGS, JSON, NDJSON, STALLED_SECONDS, preferred
from songbook.http.middleware import Front
from songbook.http.query_options import (
    DRY_RUN,
    Parameter,
    QueryString,
    is_tried,
    option,
    read_options,
    read_query_string,
)
from songbook.http.requests import (
    FORM,
    MERGE_PATCH,
    NotJson,
    Principal,
    StrictRequest,
    decode_json,
    media_type_of,
)
from songbook.http.responses import Answer
from songbook.http.routing import Route, Router
from songbook.http.state import ServiceState

__all__ = [
    "CSV",
    "DRY_RUN",
    "ENDINGS",
    "FORM",
    "JSON",
    "KEYED_METHODS",
    "MERGE_PATCH",
    "NDJSON",
    "STALLED_SECONDS",
    "Answer",
    "BulkBody",
    "Completion",
    "Dependency",
    "Front",
    "NotJson",
    "Opened",
    "Parameter",
    "Permission",
    "Principal",
    "QueryString",
    "Route",
    "Router",
    "ServiceState",
    "SettingsDep",
    "StrictRequest",
    "add_alias",
    "decode_json",
    "dependency",
    "is_tried",
    "media_type_of",
    "opening_dependency",
    "option",
    "preferred",
    "read_options",
    "read_query_string",
]
