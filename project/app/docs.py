"""The interactive documentation: Swagger UI, from this service itself and not the Internet."""

import re
from base64 import b64encode
from hashlib import sha256
from importlib.resources import files

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

_INLINE_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


def add_docs(app: FastAPI) -> None:
    """Serve the documentation at /docs; its addresses are relative, for use under a prefix."""
    page = get_swagger_ui_html(
        openapi_url="openapi.json",
        title=app.title,
        swagger_js_url="docs/assets/swagger-ui-bundle.js",
        swagger_css_url="docs/assets/swagger-ui.css",
        swagger_favicon_url="docs/assets/favicon.png",
    ).body
    scripts = [sha256(script).digest() for script in _INLINE_SCRIPT.findall(bytes(page))]
    allowed = " ".join(f"'sha256-{b64encode(script).decode()}'" for script in scripts)
    policy = (
        f"default-src 'none'; script-src 'self' {allowed}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'"
    )

    async def docs() -> HTMLResponse:
        return HTMLResponse(bytes(page), headers={"Content-Security-Policy": policy})

    assets = StaticFiles(directory=str(files("fastapi_offline") / "static"))
    app.add_api_route("/docs", docs, include_in_schema=False)
    app.mount("/docs/assets", assets)
