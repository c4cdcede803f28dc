"""The command line of a service."""

from songbook.cli.app import create_cli

__all__ = [
    "create_cli",
]
