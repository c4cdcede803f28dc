"""The settings of the sample: those of every service."""

from pathlib import Path

from songbook import config


class Settings(config.Settings):
    """The configuration of one process."""

    directory = Path(__file__).parent
