"""The token endpoint (OAuth 2 password grant, RFC 6749, section 4.3)."""

from typing import Annotated, Literal

from asyncpg import Record as Row
from fastapi import Body
from pydantic import BaseModel, ConfigDict, Field, SecretStr
from starlette.responses import JSONResponse, Response

from songbook.auth.accounts import LookupField, read_clock
from songbook.auth.logins import LoginsDep
from songbook.auth.permissions import PUBLIC
from songbook.auth.tokens import encode
from songbook.config import Settings
from songbook.errors import Unauthenticated
from songbook.http import FORM, Router, SettingsDep
from songbook.models import TextType

router = Router(prefix="/api/auth", tags=["authentication"], dependencies=[PUBLIC])


class Credentials(BaseModel):
    """The form of a login; other fields of OAuth 2 are ignored."""

    model_config = ConfigDict(hide_input_in_errors=True)

    username: Annotated[str, TextType(max_length=254)] = Field(examples=["ada.l"])
    password: SecretStr = Field(examples=["correct horse"])
    grant_type: Literal["password", ""] = "password"


class Token(BaseModel):
    """The response to a login."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105


@router.post("/token", response_model=Token, responses={401: {}})
async def create_token(
    form: Annotated[Credentials, Body(media_type=FORM)], logins: LoginsDep, settings: SettingsDep
) -> Response:
    """Sign in with a username or e-mail and a password. Returns a bearer token."""
    by: LookupField = "email" if "@" in form.username else "username"
    account = await logins.authenticate(by, form.username, form.password.get_secret_value())
    if account is None:
        raise Unauthenticated("Incorrect username or password")
    token = _token(account, settings)
    return JSONResponse(token.model_dump(), headers={"Cache-Control": "no-store"})


def _token(account: Row, settings: Settings) -> Token:
    """Return a token issued when the account was read: any later change invalidates it."""
    issued_at, minutes = read_clock(account), settings.access_token_minutes
    email, permissions = account["email"], account.get("permissions") or ()
    token = encode(settings.token_secret, email, issued_at, minutes, permissions)
    return Token(access_token=token)
