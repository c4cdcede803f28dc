"""Settings: typed environment variables and their origins."""

from songbook.config.listing import setting_lines as setting_lines
from songbook.config.production import check_production as check_production
from songbook.config.production import production_problems as production_problems
from songbook.config.settings import Settings as Settings
from songbook.config.sources import CommandError as CommandError
from songbook.config.tracing import sends_traces as sends_traces
