"""The command line of a service."""

from songbook.cli.app import create_cli as create_cli
