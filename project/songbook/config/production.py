"""What production must not have."""

from typing import TYPE_CHECKING

from songbook.config.sources import StartError
from songbook.config.token_secrets import weakness

if TYPE_CHECKING:
    from songbook.config import Settings


def check(settings: "Settings", secret: str | None) -> None:
    """Raise StartError for a weak secret, for settings that tell too much, and for blind trust."""
    if fault := weakness(secret):
        advice = "make one with `python -c 'import secrets; print(secrets.token_urlsafe(48))'`"
        raise StartError(f"OAUTH_TOKEN_SECRET {fault}, and this is production: {advice}.")
    is_debugged = settings.log_level == "DEBUG"
    tells = {"ECHO_SQL": settings.echo_sql, "DEBUG": settings.debug, "LOG_LEVEL=DEBUG": is_debugged}
    if name := next((name for name, is_set in tells.items() if is_set), None):
        raise StartError(f"{name} tells too much, and this is production: leave it out.")
    if settings.forwarded_allow_ips == "*":
        fault = "FORWARDED_ALLOW_IPS=* believes everybody, and this is production"
        raise StartError(f"{fault}: name the proxies.")
