"""The settings of the sample, on top of those of every service."""

from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Le
from pydantic import AliasChoices, Field

from songbook import config


class Settings(config.Settings):
    """The configuration of one process."""

    directory = Path(__file__).parent

    shelf_name: str = Field(
        default="Fiction", validation_alias=AliasChoices("shelf_name", "shelf_label")
    )
    """A text."""

    librarian: str | None = None
    """A text that may be missing."""

    books_per_member: Annotated[int, Ge(1), Le(1_000_000)] = 50
    """A number within bounds."""

    private_shelves: bool = False
    """What is set by environment."""

    postgres_data: Path = directory / ".data" / "postgres"
    """Where the embedded PostgreSQL keeps its data."""
