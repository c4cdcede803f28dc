"""Checks of the settings for production."""

from songbook.config.settings import Settings
from songbook.config.sources import CommandError

_PLACEHOLDERS = {
    "changethis",  # of the full-stack FastAPI template
    "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",  # of FastAPI's tutorial
    "a-string-secret-at-least-256-bits-long",  # of jwt.io
}


def check_production(settings: Settings) -> None:
    """Raise CommandError in production for a weak secret, debug output or trust in every proxy."""
    if settings.environment != "prod":
        return
    secret = settings.oauth_token_secret
    if problem := weakness(secret.get_secret_value() if secret else None):
        advice = "make one with `python -c 'import secrets; print(secrets.token_urlsafe(48))'`"
        raise CommandError(
            f"OAUTH_TOKEN_SECRET {problem}, which production does not allow: {advice}."
        )
    is_debugged = settings.log_level == "DEBUG"
    debug = {"ECHO_SQL": settings.echo_sql, "DEBUG": settings.debug, "LOG_LEVEL=DEBUG": is_debugged}
    if name := next((name for name, is_set in debug.items() if is_set), None):
        problem = f"{name} exposes internals, which production does not allow"
        raise CommandError(f"{problem}: leave it out.")
    if settings.forwarded_allow_ips == "*":
        problem = "FORWARDED_ALLOW_IPS=* trusts every client, which production does not allow"
        raise CommandError(f"{problem}: list the proxies.")


def weakness(secret: str | None) -> str | None:
    """Return what is wrong with a secret, None if it is strong enough for production."""
    secret = secret or ""
    problems = {
        "is missing": not secret,
        "is a placeholder": secret in _PLACEHOLDERS,
        "is shorter than 32 bytes": len(secret.encode()) < 32,
        "has fewer than 8 different characters": len(set(secret)) < 8,
    }
    return next((problem for problem, is_so in problems.items() if is_so), None)
