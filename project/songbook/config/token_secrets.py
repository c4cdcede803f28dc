"""The secret that signs tokens: a random one where none is set; what is wrong with a bad one."""

import re
import secrets

RANDOM = secrets.token_urlsafe(48)
"""What this process signs with when no secret is set."""

_BYTES = 32
_CHARACTERS = 8
_PLACEHOLDERS = ("changeme", "secret", "default", "placeholder", "example", "password", "songbook")
# The one of FastAPI's own documentation, which half of the world has copied.
_PUBLISHED = {"09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7"}


def weakness(secret: str | None) -> str | None:
    """Say what is wrong with a secret, None when it is good enough for production."""
    if not secret:
        return "is missing"
    plain = re.sub(r"[\W_]", "", secret).casefold()
    if secret in _PUBLISHED or any(word in plain for word in _PLACEHOLDERS):
        return "is a placeholder"
    if len(secret.encode()) < _BYTES:
        return f"is shorter than {_BYTES} bytes"
    if len(set(secret)) < _CHARACTERS or secret in (secret * 2)[1:-1]:
        return "repeats itself"
    return None
