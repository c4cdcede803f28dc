"""The private names of Starlette and FastAPI that are used here, each for a reason.

`get_route_path` is the path that routes are matched with, below the prefix of a mounted or proxied
service; `iter_route_contexts` gives the routes of an application, those of included routers too.
"""

from fastapi.routing import iter_route_contexts
from starlette._utils import get_route_path

__all__ = ["get_route_path", "iter_route_contexts"]
