"""The additional settings of this service."""

from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Le
from pydantic import AliasChoices, Field

from songbook import config

NAME = "Songbook"
"""The name of the service, on the command line and in its documentation."""


class Settings(config.Settings):
    """The settings of the process; each is read from the variable of the same name."""

    directory = Path(__file__).parents[1]

    project_name: str = Field(
        default=NAME, validation_alias=AliasChoices("project_name", "app_name")
    )
    """The title of the service (also `APP_NAME`)."""

    admin_email: str | None = None
    """The contact address of this service."""

    items_per_user: Annotated[int, Ge(1), Le(1_000_000)] = 50
    """A setting of a tutorial, which the index shows."""

    postgres_data: Path = directory.parent / ".data" / "postgres"
    """The data directory of the embedded PostgreSQL."""

    private_profiles: bool = False
    """Whether users see only their own profile."""
