"""The home page, as HTML without a script."""

from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from html import escape

from fastapi import FastAPI

from songbook.models import Listed

Counts = Mapping[str, int | None]
"""About how many records there are by path, None if that is unknown."""

_STYLE = (
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:40rem;margin:0 auto;padding:1rem}"
    "h1,h2{line-height:1.2}h2{font-size:1.2rem;margin-top:2rem}li{padding:.2rem 0}"
    "table{border-collapse:collapse;width:100%}"
    "th,td{padding:.4rem 0;border-bottom:1px solid;text-align:left;overflow-wrap:anywhere}"
    "td+td,th+th{padding-left:1rem;text-align:right}"
)
_DIGEST = b64encode(sha256(_STYLE.encode()).digest()).decode()

POLICY = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy of the page."""

_CONSOLE = {"/console": "Console, in which people find, change and import records"}
_DOCUMENTS = {
    "/docs": "Documentation, where every request can be tried",
    "/openapi.json": "OpenAPI document, for tools",
}
_HEALTH = {"/livez": "Does the process respond?", "/readyz": "Does it serve requests?"}


def render(app: FastAPI, prefix: str, counts: Counts | None) -> str:
    """Return the page of a service under a prefix; `counts` is None without a database."""
    title, prefix = escape(app.title), escape(prefix)
    table = _table(listed_resources(app), prefix, counts)
    documents = _links("Documents", _DOCUMENTS, prefix) if has_docs(app) else ""
    if app.state.service.settings.console:
        documents = _links("Console", _CONSOLE, prefix) + documents
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="icon" href="{prefix}/favicon.ico">
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p>{escape(app.description or "A REST service.")} Version {escape(app.version)}.</p>
{table}{documents}{_links("Health", _HEALTH, prefix)}</main>
</body>
</html>
"""


def listed_resources(app: FastAPI) -> list[Listed]:
    """Return the resources whose lists have an address without parameters."""
    return [each for each in app.state.service.relations.resources if "{" not in each.path]


def has_docs(app: FastAPI) -> bool:
    """Return whether the documentation is public."""
    is_public: bool = app.state.service.settings.public_docs
    return is_public


def is_open(resource: Listed) -> bool:
    """Return whether everyone may list all records, and so may know how many there are."""
    return resource.readers is None and resource.shown.readable is None and not resource.is_partial


def _table(resources: list[Listed], prefix: str, counts: Counts | None) -> str:
    rows = "".join(
        f'<tr><td><a href="{prefix}{escape(each.path)}">{escape(each.path)}</a></td>'
        f"<td>{_amount(each, counts or {})}</td></tr>\n"
        for each in resources
    )
    if not rows:
        return ""
    head = '<tr><th scope="col">Resource</th><th scope="col">Records</th></tr>'
    note = "<p>The database does not respond at the moment.</p>\n" if counts is None else ""
    return f"<h2>Resources</h2>\n<table>\n{head}\n{rows}</table>\n{note}"


def _amount(resource: Listed, counts: Counts) -> str:
    """Return in words about how many records there are."""
    if resource.readers is not None:
        return "for signed-in users"
    if not is_open(resource):
        return "depends on the user"
    number = counts.get(resource.path)
    return "unknown" if number is None else f"about {number:,}" if number else "none"


def _links(heading: str, links: Mapping[str, str], prefix: str) -> str:
    items = "".join(
        f'<li><a href="{prefix}{path}">{path}</a>: {text}</li>\n' for path, text in links.items()
    )
    return f"<h2>{heading}</h2>\n<ul>\n{items}</ul>\n"
