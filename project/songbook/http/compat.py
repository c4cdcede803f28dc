"""Private functions of Starlette and FastAPI that have no public counterpart."""

from fastapi.routing import iter_route_contexts
from fastapi.telemetry._api import _route_selected as select_route
from starlette._utils import get_route_path

__all__ = ["TELEMETRY", "get_route_path", "iter_route_contexts", "select_route"]

TELEMETRY = "fastapi.telemetry"
"""The member of the scope of a request that FastAPI traces, for `select_route`."""
