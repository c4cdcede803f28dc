"""Checks of the settings for production."""

import re

from songbook.config.settings import Settings
from songbook.config.sources import CommandError

_MIN_BYTES = 32
_TUTORIAL_SECRET = "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7"  # noqa: S105
"""The secret in FastAPI's tutorial."""

# Those of templates and tutorials are made of these: `changethis` of the full-stack FastAPI
# template, `a-string-secret-at-least-256-bits-long` of jwt.io, `your-secret-key`, …
_PLACEHOLDER_WORDS = re.compile(
    "abcdefghijklmnopqrstuvwxyz|1234567890|qwerty|placeholder|development|production|characters"
    "|password|insecure|generated?|replace|example|default|openssl|testing|string|secret|change"
    "|please|random|access|signing|super|token|oauth|least|bytes|chars|bits?|your|this|that|must"
    "|here|long|test|auth|demo|prod|rand|with|some|very|key|jwt|dev|app|hex|the|for|use|not|my|me"
    "|be|is|in|it|to|at|of"
)
_MIN_OTHERS = 16


def _is_placeholder(secret: str) -> bool:
    """Return whether a secret is that of a tutorial, or hardly more than words of such."""
    plain = re.sub(r"[\W_]", "", secret.lower())
    others, words = _PLACEHOLDER_WORDS.subn("", plain)
    return secret == _TUTORIAL_SECRET or (words > 0 and len(others) < _MIN_OTHERS)


def _is_repeated(secret: str) -> bool:
    """Return whether a secret is one text of fewer than 32 characters, again and again."""
    sizes = range(1, min(_MIN_BYTES, len(secret) // 2 + 1))
    return any(secret[size:] == secret[:-size] for size in sizes)


def check_production(settings: Settings) -> None:
    """Raise CommandError in production for a weak secret, debug output or trust in every proxy."""
    if settings.environment == "prod" and (problems := production_problems(settings)):
        raise CommandError(problems[0])


def production_problems(settings: Settings) -> list[str]:
    """Return what production does not allow in the settings, a sentence for each."""
    problems = []
    advice = "make one with `python -c 'import secrets; print(secrets.token_urlsafe(48))'`"
    secret = settings.oauth_token_secret
    if problem := weakness(secret.get_secret_value() if secret else None):
        problems.append(f"OAUTH_TOKEN_SECRET {problem}, which production does not allow: {advice}.")
    token = settings.metrics_token
    if token is not None and (problem := weakness(token.get_secret_value())):
        problems.append(f"METRICS_TOKEN {problem}, which production does not allow: {advice}.")
    if token is not None and settings.metrics_port is not None:
        problem = "METRICS_TOKEN does not protect METRICS_PORT, which production does not allow"
        problems.append(f"{problem}: leave one of them out.")
    is_debugged = settings.log_level == "DEBUG"
    debug = {"ECHO_SQL": settings.echo_sql, "DEBUG": settings.debug, "LOG_LEVEL=DEBUG": is_debugged}
    for name in (name for name, is_set in debug.items() if is_set):
        problem = f"{name} exposes internals, which production does not allow"
        problems.append(f"{problem}: leave it out.")
    if settings.forwarded_allow_ips == "*":
        problem = "FORWARDED_ALLOW_IPS=* trusts every client, which production does not allow"
        problems.append(f"{problem}: list the proxies.")
    return problems


def weakness(secret: str | None) -> str | None:
    """Return what is wrong with a secret, None if it is strong enough for production."""
    secret = secret or ""
    problems = {
        "is missing": not secret,
        "is a placeholder": _is_placeholder(secret),
        "is shorter than 32 bytes": len(secret.encode()) < _MIN_BYTES,
        "has fewer than 8 different characters": len(set(secret)) < 8,
        "repeats one short text": _is_repeated(secret),
    }
    return next((problem for problem, is_so in problems.items() if is_so), None)
