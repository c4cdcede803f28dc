"""The commands of this service beside those of every service."""

import asyncio
from typing import Any

import asyncpg
from pydantic import ValidationError
from sqlalchemy.engine import URL

from app.resources.users import User, UserCreate, UserPublic, with_hash
from songbook.config import StartError
from songbook.crud.statements import created
from songbook.db.connect import opened_database
from songbook.errors.field_errors import reasons_of
from songbook.errors.handlers import problem_of


def create_superuser(url: URL, **given: Any) -> None:
    """Store a superuser; raise StartError when the fields do not fit or are taken."""
    try:
        user = UserCreate(**given, is_superuser=True)
    except ValidationError as error:
        raise StartError(f"the user does not fit: {reasons_of(error)}.") from None
    asyncio.run(_store(url, user))


async def _store(url: URL, user: UserCreate) -> None:
    fields = await with_hash(user.model_dump())
    try:
        async with opened_database(url) as db:
            await db.fetch(created(User, UserPublic, fields))
    except asyncpg.UniqueViolationError as error:
        problem = problem_of(error)
        taken = ", ".join(each.pointer.strip("/") for each in problem.errors)
        raise StartError(f"{problem.detail}: choose another {taken}.") from None
