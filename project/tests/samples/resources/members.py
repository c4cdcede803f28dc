"""Members: table, schemas and routes of the accounts of the sample."""

from typing import Annotated, Any, Literal

from fastapi import Depends, Request, Response
from sqlalchemy import text
from sqlmodel import Field

from songbook.auth import SIGNED_IN, SUPERUSER, Account, CurrentUser, Password, hash_password
from songbook.crud import IfMatch, IfNoneMatch, ReadDep, Records, WriteDep
from songbook.http import Router
from songbook.lists import Page, page_of
from songbook.models import CaseInsensitive, Email, Partial, RecordPublic, Schema
from tests.samples.tables import Stored

router = Router(prefix="/members", tags=["members"])


class MemberBase(Schema):
    """The fields shared by requests, responses and the table."""

    username: Annotated[str, CaseInsensitive()] = Field(
        unique=True, max_length=150, regex="^[A-Za-z0-9]+$"
    )
    email: Email = Field(unique=True)


class Member(MemberBase, Account, Stored, table=True):
    """The table; a trigger sets `credentials_changed_at`."""

    __tablename__ = "members"
    principal_columns = ("role",)

    role: Literal["librarian", "reader"] = Field(
        sa_column_kwargs={"server_default": text("'reader'")}
    )
    permissions: list[str] = Field(sa_column_kwargs={"server_default": text("'{}'")})


class MemberCreate(MemberBase):
    """The body of a POST."""

    password: Password
    is_superuser: bool = False
    is_active: bool = True


class MemberUpdate(MemberBase, Partial):
    """The body of a PATCH; omitted fields stay unchanged."""

    password: Password


class MemberPublic(MemberBase, RecordPublic):
    """The representation in responses."""

    is_superuser: bool


members = Records(Member, MemberPublic)
MembersPage = Annotated[Page, Depends(page_of(members))]


async def hash_password_field(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields as the table has them: of a password its hash."""
    password = fields.pop("password", None)
    if password is not None:
        fields["hashed_password"] = await hash_password(password.get_secret_value())
    return fields


@router.get("", response_model=list[MemberPublic], dependencies=[SUPERUSER])
async def list_members(page: MembersPage, db: ReadDep) -> Response:
    """List members, a page at a time."""
    return await page.response(db)


@router.post("", response_model=MemberPublic, status_code=201, dependencies=[SUPERUSER])
async def create_member(body: MemberCreate, request: Request, db: WriteDep) -> Response:
    """Create a member."""
    row = await db.fetch(members.insert(await hash_password_field(body.model_dump())))
    return members.created(row, request)


@router.get("/me", response_model=MemberPublic, dependencies=[SIGNED_IN])
async def read_own_member(user: CurrentUser, if_none_match: IfNoneMatch, db: ReadDep) -> Response:
    """Read who you are."""
    row = await db.fetch(members.select(user.id))
    return members.found(row, if_none_match)


@router.patch("/me", response_model=MemberPublic, dependencies=[SIGNED_IN])
async def update_own_member(
    user: CurrentUser, if_match: IfMatch, body: MemberUpdate, db: WriteDep
) -> Response:
    """Change your username, your e-mail or your password."""
    fields = await hash_password_field(body.model_dump(exclude_unset=True))
    row = await db.fetch(members.update(user.id, fields, if_match))
    return members.updated(row)
