"""Who sends a request, and what they may do."""

from songbook.auth.accounts import Account, Accounts
from songbook.auth.logins import Logins, LoginsDep, get_logins
from songbook.auth.passwords import Password, hash_password
from songbook.auth.permissions import (
    ASKED,
    OPEN,
    PUBLIC,
    SIGNED_IN,
    SUPERUSER,
    CurrentUser,
    Sender,
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
    "Accounts",
    "CurrentUser",
    "Logins",
    "LoginsDep",
    "Password",
    "Sender",
    "SignedIn",
    "current_user",
    "get_logins",
    "hash_password",
    "router",
]
