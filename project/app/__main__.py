"""The command line: `python -m app …`."""

from pathlib import Path

from app import commands, resources
from app.settings import NAME, Settings
from songbook.cli import create_cli

cli = create_cli(
    Settings,
    resources.modules,
    application="app.main:app",
    title=NAME,
    help=f"{NAME}: an asynchronous REST microservice.",
    examples=Path(__file__).with_name("examples"),
)
cli.command()(commands.create_superuser)

if __name__ == "__main__":
    cli()
