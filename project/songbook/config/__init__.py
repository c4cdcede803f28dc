"""Settings: every variable of the environment, typed, and where each was written."""

from songbook.config.listing import setting_lines
from songbook.config.production import check_production
from songbook.config.settings import Settings
from songbook.config.sources import StartError

__all__ = [
    "Settings",
    "StartError",
    "check_production",
    "setting_lines",
]
