"""The OpenAPI document and Swagger UI."""

from songbook.openapi.document import describe as describe
from songbook.openapi.swagger_ui import add_docs as add_docs
