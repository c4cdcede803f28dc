"""Who sends a request, and what they may do."""

from songbook.auth.accounts import Account, check_accounts
from songbook.auth.logins import Logins, LoginsDep, get_logins
from songbook.auth.passwords import Password, hash_password
from songbook.auth.permissions import (
    ASKED,
    OPEN,
    PUBLIC,
    SIGNED_IN,
    SUPERUSER,
    CurrentUser,
    SignedIn,
    current_user,
)
from songbook.auth.routes import router

__all__ = [
    "ASKED",
    "OPEN",
    "PUBLIC",
    "SIGNED_IN",
    "SUPERUSER",
    "Account",
    "CurrentUser",
    "Logins",
    "LoginsDep",
    "Password",
    "SignedIn",
    "check_accounts",
    "current_user",
    "get_logins",
    "hash_password",
    "router",
]
