"""The OpenAPI document and its page."""

from songbook.openapi.document import describe as describe
from songbook.openapi.swagger_ui import add_docs as add_docs
