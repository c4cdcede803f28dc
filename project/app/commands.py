"""The additional commands of this service."""

import asyncio
import sys
from typing import Annotated, Any

import asyncpg
import typer
from pydantic import ValidationError
from sqlalchemy.engine import URL

from app.resources.users import UserCreate, hash_password_field, users
from app.settings import Settings
from songbook.config import CommandError
from songbook.db import check_database, open_database, resolve_database
from songbook.errors import to_problem, validation_summary

Username = Annotated[str, typer.Argument(help="The username to sign in with.")]
Email = Annotated[str, typer.Argument(help="The e-mail address, also to sign in with.")]
Name = Annotated[str | None, typer.Option(help="Optional.")]


def create_superuser(
    username: Username, email: Email, first_name: Name = None, last_name: Name = None
) -> None:
    """Create a superuser; the password is read from standard input."""
    names = {"first_name": first_name, "last_name": last_name}
    fields = {"username": username, "email": email, "password": _password(), **names}
    with resolve_database(Settings.load()) as url:
        check_database(url)
        store_superuser(url, **fields)
    print(f"Created the superuser {username}, who can sign in at /api/auth/token.")


def _password() -> str:
    """Prompt for a password twice, or read a line of piped input."""
    if sys.stdin.isatty():
        password: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
        return password
    return sys.stdin.readline().rstrip("\r\n")


def store_superuser(url: URL, **fields: Any) -> None:
    """Store a superuser. Raises CommandError for invalid fields or a duplicate."""
    try:
        user = UserCreate(**fields, is_superuser=True)
    except ValidationError as error:
        raise CommandError(f"the user is invalid: {validation_summary(error)}.") from None
    asyncio.run(_store(url, user))


async def _store(url: URL, user: UserCreate) -> None:
    fields = await hash_password_field(user.model_dump())
    try:
        async with open_database(url) as db:
            await db.fetch(users.insert(fields))
    except asyncpg.UniqueViolationError as error:
        problem = to_problem(error)
        taken = ", ".join(each.pointer.strip("/") for each in problem.errors)
        raise CommandError(f"the {taken} is already taken: choose another.") from None
