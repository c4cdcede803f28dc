"""URLs of PostgreSQL: normalized, made of parts, and without the password."""

import re
from typing import Any

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

_DRIVER = "postgresql+asyncpg"
_CACHE_SIZE = "prepared_statement_cache_size"
_PARAMETERS = {
    *("host", "port", "user", "password", "database", "passfile", "service", "servicefile"),
    *("ssl", "direct_tls", "target_session_attrs", "krbsrvname", "gsslib"),
    _CACHE_SIZE,
}
_MASK = "***"


def normalize_url(value: Any) -> Any:
    """Return a URL of PostgreSQL with asyncpg as the driver. Raises ValueError."""
    if value in {None, ""}:
        return None
    try:
        url = make_url(_unambiguous(str(value)))
    except (ArgumentError, ValueError):
        raise ValueError(
            "is not a database URL: write postgresql+asyncpg://user:password@host:5432/database,"
            " with special characters percent-encoded"
        ) from None
    if url.drivername not in {"postgresql", "postgres", _DRIVER}:
        raise ValueError("does not name PostgreSQL: begin it with postgresql+asyncpg://")
    if mode := url.query.get("sslmode"):  # the name of libpq; asyncpg calls it ssl
        url = url.difference_update_query(["sslmode"]).update_query_dict({"ssl": mode})
    if unknown := sorted(set(url.query) - _PARAMETERS):
        raise ValueError(f"has parameters that asyncpg does not know{_shown(unknown, url)}")
    if not str(url.query.get(_CACHE_SIZE, "0")).isdecimal():
        raise ValueError(f"has a {_CACHE_SIZE} that is not a number")
    return url.set(drivername=_DRIVER).render_as_string(hide_password=False)


def _unambiguous(text: str) -> str:
    """Encode `@` in the query of a URL. Raises ValueError if a raw `@` may be in the password.

    The rest of that password would be read as a host or a parameter, which messages and logs show.
    """
    place, mark, query = text.partition("?")
    pairs = [pair.partition("=") for pair in query.split("&")]
    if place.count("@") > 1 or any(
        "@" in name or ("@" in value and name not in {"user", "password"})
        for name, _, value in pairs
    ):
        raise ValueError
    return place + mark + query.replace("@", "%40")


def _shown(unknown: list[str], url: URL) -> str:
    """Return the unknown parameters unless they may be part of a password with a raw `&`."""
    is_plain = all(re.fullmatch("[a-z_]+", name) for name in unknown)
    return f": {', '.join(unknown)}" if is_plain and "password" not in url.query else ""


def url_from_parts(host: str, port: int, user: str, password: str | None, database: str) -> URL:
    """Return the URL of unencoded parts; a host that begins with a slash is a socket directory."""
    url = URL.create(_DRIVER, username=user, password=password, database=database)
    if host.startswith("/"):
        return url.update_query_dict({"host": host, "port": str(port)})
    return url.set(host=host, port=port)


def mask_password(url: URL) -> str:
    """Return a URL without its password, which may also be a parameter."""
    if "password" in url.query:
        url = url.difference_update_query(["password"]).update_query_dict({"password": "MASKED"})
    return url.render_as_string(hide_password=True).replace("password=MASKED", f"password={_MASK}")
