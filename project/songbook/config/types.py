"""The types of settings with their own syntax and error messages."""

import re
from ipaddress import ip_network
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le
from pydantic import AfterValidator, BeforeValidator, SecretStr

from songbook.config.urls import normalize_url

_ORIGIN = r"[a-z][a-z\d+.-]*://([\w.-]+|\[[\da-f:.]+\])(:\d+)?"


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


def _split(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return tuple(part.strip().lower() for part in value.split(",") if part.strip())


def _origin(value: str) -> str:
    if value != "*" and not re.fullmatch(_ORIGIN, value):
        raise ValueError(
            "should be * or origins like https://example.org:8443, with commas between"
        )
    return value


def _root_path(value: str) -> str:
    if value.rstrip("/") and not re.fullmatch(r"(/(?!\.\.?(/|$))[\w.~-]+)+/?", value, re.ASCII):
        raise ValueError("should be a path like /music, of letters, digits and - . _ ~")
    return value.rstrip("/")


def _proxies(value: str) -> str:
    """Return addresses and networks for uvicorn, which rejects host bits."""
    if value.strip() == "*":
        return "*"
    parts = [part.strip() for part in value.split(",") if part.strip()]
    try:
        return ",".join(_proxy(part) for part in parts)
    except ValueError:
        raise ValueError(
            "should be * or addresses and networks like 10.0.0.7 or 10.0.0.0/8, with commas between"
        ) from None


def _proxy(part: str) -> str:
    network = ip_network(part, strict=False)
    return str(network) if "/" in part else str(network.network_address)


DatabaseUrl = Annotated[SecretStr | None, BeforeValidator(normalize_url)]
Level = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_upper)]
Minutes = Annotated[int, Ge(1), Le(1440)]
Origins = Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], BeforeValidator(_split)]
Port = Annotated[int, Ge(1), Le(65535)]
Proxies = Annotated[str, AfterValidator(_proxies)]
RootPath = Annotated[str, AfterValidator(_root_path)]
Tries = Annotated[int, Ge(1), Le(1_000_000)]
