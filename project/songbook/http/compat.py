"""Private functions of Starlette and FastAPI that have no public counterpart."""

from fastapi.routing import iter_route_contexts
from starlette._utils import get_route_path

__all__ = ["get_route_path", "iter_route_contexts"]
