"""The command `migrate`."""

from sqlalchemy.exc import DBAPIError

from songbook.cli.service import Service
from songbook.config import CommandError, Settings
from songbook.db import check_database, resolve_database


class MigrateCommand(Service):
    """The command `migrate`."""

    def migrate(self) -> None:
        """Upgrade the database to the newest migration."""
        settings = self.settings.load()
        with resolve_database(settings) as url:
            check_database(url)
            upgrade(settings)


def upgrade(settings: Settings) -> None:
    """Apply the pending migrations. Raises CommandError."""
    from alembic import command  # noqa: PLC0415 - 9 MB that serving does not need
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError as AlembicError  # noqa: PLC0415

    try:
        command.upgrade(Config(settings.directory / "alembic.ini"), "head")
    except (AlembicError, DBAPIError, OSError) as error:
        reason = getattr(error, "driver_exception", error)
        raise CommandError(f"the migrations cannot be applied: {reason}.") from None
