"""The settings of this service, on top of those of every service."""

from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Le
from pydantic import AliasChoices, Field

from songbook import config


class Settings(config.Settings):
    """The configuration of one process; every field is a variable of the same name."""

    directory = Path(__file__).parents[1]

    project_name: str = Field(
        default="Songbook", validation_alias=AliasChoices("project_name", "app_name")
    )
    """What the service calls itself (also `APP_NAME`)."""

    admin_email: str | None = None
    """Whom to write to about this service."""

    items_per_user: Annotated[int, Ge(1), Le(1_000_000)] = 50
    """What the index tells clients."""

    postgres_data: Path = directory.parent / ".data" / "postgres"
    """Where the embedded PostgreSQL keeps its data."""

    private_profiles: bool = False
    """Whether users see nobody's profile but their own."""
