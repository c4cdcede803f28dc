"""Where the project is, and the repository that holds it."""

from pathlib import Path

PROJECT = Path(__file__).parents[2]
ROOT = PROJECT.parent
