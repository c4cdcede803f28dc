"""The OpenAPI document and its page."""

from songbook.openapi.document import describe
from songbook.openapi.swagger_ui import add_docs

__all__ = [
    "add_docs",
    "describe",
]
