"""The command line: `python -m tests.samples …`."""

from pathlib import Path

from songbook.cli import create_cli
from tests.samples import resources
from tests.samples.settings import Settings

cli = create_cli(
    Settings,
    resources.modules,
    application="tests.samples.main:app",
    title="Samples",
    help="A service of the tests.",
    examples=Path(__file__).with_name("examples"),
)

if __name__ == "__main__":
    cli()
