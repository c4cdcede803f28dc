"""Users: table, schemas and routes."""

import re
from typing import Annotated, Any

import pydantic
from fastapi import Depends, Request, Response
from pydantic.config import JsonDict
from sqlmodel import Field, SQLModel

from app.settings import Settings
from songbook.auth import (
    SIGNED_IN,
    SUPERUSER,
    Account,
    CurrentUser,
    Logins,
    LoginsDep,
    Password,
    hash_password,
    permission,
)
from songbook.crud import (
    EntityTags,
    Id,
    IfMatch,
    IfNoneMatch,
    ReadDep,
    Records,
    View,
    WriteDep,
    record_id,
    require_version,
    view_of,
)
from songbook.errors import Forbidden, NotFound, UnprocessableContent, field_error
from songbook.http import Principal, Router, StrictRequest
from songbook.lists import Page, page_of
from songbook.models import (
    CaseInsensitive,
    Email,
    Partial,
    Record,
    RecordPublic,
    Schema,
    table_of,
)

router = Router(prefix="/users", tags=["users"], no_store=True)

_USERNAME, _SLUG = r"^[A-Za-z0-9][A-Za-z0-9._+-]*$", r"^[A-Za-z0-9]+([._-][A-Za-z0-9]+)*$"

Username = Annotated[
    str,
    CaseInsensitive(),
    pydantic.Field(max_length=150, pattern=_USERNAME, examples=["ada.l"]),
]
Slug = Annotated[
    str, CaseInsensitive(), pydantic.Field(max_length=150, pattern=_SLUG, examples=["ada-l"])
]


def slug_of(fields: dict[str, Any]) -> str:
    """Return the default slug: the username in lower case, with hyphens."""
    return re.sub("[^a-z0-9]+", "-", fields["username"].lower()).strip("-")


_CREDENTIALS = ("email", "username", "password")
_DEPENDENT: JsonDict = {
    "dependentRequired": {name: ["current_password"] for name in _CREDENTIALS},
    "examples": [{"first_name": "Ada", "last_name": "Lovelace"}],
}


class UserBase(Schema):
    """The fields shared by requests, responses and the table."""

    username: Username = Field(unique=True)
    slug: Slug = Field(unique=True)
    email: Email = Field(unique=True)
    first_name: str | None = None
    last_name: str | None = None


class User(UserBase, Account, Record, table=True):
    """The table; a trigger protects the last active superuser."""

    __tablename__ = "users"


class GivenUpEmail(SQLModel, table=True):
    """Hashes of former e-mail addresses, written and read by triggers of the table `users`."""

    __tablename__ = "given_up_email"

    key: bytes = Field(primary_key=True)


class UserCreate(UserBase):
    """The body of a POST or a PUT by a superuser."""

    slug: Slug = pydantic.Field(default_factory=slug_of)
    password: Password
    is_superuser: bool = False
    is_active: bool = True


class UserUpdate(UserBase, Partial):
    """The body of a PATCH by a superuser; omitted fields stay unchanged."""

    password: Password
    is_superuser: bool
    is_active: bool


class UserUpdateMe(UserBase, Partial):
    """The body of a PATCH of your own user; credentials need the current password."""

    model_config = {"json_schema_extra": _DEPENDENT}  # noqa: RUF012 - read once, by pydantic

    password: Password
    current_password: Password


class UserPublic(UserBase, RecordPublic):
    """The representation in responses."""

    is_superuser: bool


@permission(error_statuses=(404,))
async def profile(request: StrictRequest, user: Principal) -> bool:
    """Allow every user; with PRIVATE_PROFILES only superusers and the user of the `id`."""
    settings = request.service.settings
    assert isinstance(settings, Settings)
    is_visible = not settings.private_profiles or user.is_superuser
    if not is_visible and await record_id.call(request) != user.id:
        raise NotFound("User not found")
    return True


@permission(error_statuses=(403, 404))
async def account(request: StrictRequest, user: Principal) -> bool:
    """Allow superusers; other users get 403, or 404 where profiles are private."""
    await profile.check(request, user)
    if not user.is_superuser:
        raise Forbidden("Only superusers may do this; your own account is at /users/me.")
    return True


PROFILE, ACCOUNT = Depends(profile), Depends(account)

users = Records(User, UserPublic)
UsersPage = Annotated[Page, Depends(page_of(users))]
UserView = Annotated[View, Depends(view_of(users))]


async def hash_password_field(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of the fields, with the hash of a password."""
    hashed = {}
    if password := fields.get("password"):
        hashed["hashed_password"] = await hash_password(password.get_secret_value())
    return hashed | {name: fields[name] for name in fields if name in table_of(User).c}


async def own_password_condition(
    body: UserUpdateMe, user: Principal, logins: Logins, if_match: EntityTags | None
) -> EntityTags | None:
    """Return the condition for the version whose password was checked.

    Raises UnprocessableContent if a new e-mail, username or password comes without the right
    current password: with a stolen token alone nobody takes over the account. This counts as a
    login, so that the token cannot be used to guess passwords either.
    """
    sent = body.model_fields_set
    if sent.isdisjoint(_CREDENTIALS):
        return if_match
    detail = "Is required for a new e-mail, username or password"
    if "current_password" in sent:
        current = body.current_password.get_secret_value()
        if account := await logins.authenticate("id", user.id, current):
            return require_version(if_match, users, user.id, account["version"])
        detail = "Is not the current password"
    raise UnprocessableContent(errors=[field_error("body", "current_password", detail, "password")])


@router.get("", response_model=list[UserPublic], dependencies=[SUPERUSER])
async def list_users(page: UsersPage, db: ReadDep) -> Response:
    """List users, a page at a time."""
    return await page.response(db)


@router.post("", response_model=UserPublic, status_code=201, dependencies=[SUPERUSER])
async def create_user(body: UserCreate, request: Request, db: WriteDep) -> Response:
    """Create a user."""
    row = await db.fetch(users.insert(await hash_password_field(body.model_dump())))
    return users.created(row, request)


@router.get("/me", response_model=UserPublic, dependencies=[SIGNED_IN])
async def read_own_user(user: CurrentUser, if_none_match: IfNoneMatch, db: ReadDep) -> Response:
    """Read your own user."""
    row = await db.fetch(users.select(user.id))
    return users.found(row, if_none_match)


@router.patch("/me", response_model=UserPublic, dependencies=[SIGNED_IN])
async def update_own_user(
    user: CurrentUser, if_match: IfMatch, body: UserUpdateMe, logins: LoginsDep, db: WriteDep
) -> Response:
    """Change your own user; a new e-mail, username or password needs the current password."""
    condition = await own_password_condition(body, user, logins, if_match)
    fields = await hash_password_field(body.model_dump(exclude_unset=True))
    row = await db.fetch(users.update(user.id, fields, condition))
    return users.updated(row)


@router.get("/{id}", response_model=UserPublic, dependencies=[PROFILE])
async def read_user(id: Id, view: UserView, if_none_match: IfNoneMatch, db: ReadDep) -> Response:
    """Read a user."""
    row = await db.fetch(users.select(id, view))
    return users.found(row, if_none_match)


@router.put("/{id}", response_model=UserPublic, dependencies=[ACCOUNT])
async def replace_user(id: Id, if_match: IfMatch, body: UserCreate, db: WriteDep) -> Response:
    """Replace a user; omitted optional fields are reset."""
    fields = await hash_password_field(body.model_dump())
    row = await db.fetch(users.update(id, fields, if_match))
    return users.updated(row)


@router.patch("/{id}", response_model=UserPublic, dependencies=[ACCOUNT])
async def update_user(id: Id, if_match: IfMatch, body: UserUpdate, db: WriteDep) -> Response:
    """Change some fields of a user."""
    fields = await hash_password_field(body.model_dump(exclude_unset=True))
    row = await db.fetch(users.update(id, fields, if_match))
    return users.updated(row)


@router.delete("/{id}", status_code=204, dependencies=[ACCOUNT], responses={409: {}})
async def delete_user(id: Id, if_match: IfMatch, db: WriteDep) -> Response:
    """Delete a user. The last active superuser cannot be deleted (409)."""
    row = await db.fetch(users.delete(id, if_match))
    return users.deleted(row)
