"""Private functions of Starlette and FastAPI that have no public counterpart.

`get_route_path` returns the path without `root_path`; `iter_route_contexts` gives all routes of an
application, those of included routers too.
"""

from fastapi.routing import iter_route_contexts
from starlette._utils import get_route_path

__all__ = ["get_route_path", "iter_route_contexts"]
