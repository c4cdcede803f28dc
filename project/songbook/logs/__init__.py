"""The log: messages with named fields, and how they are written to stderr."""

from songbook.logs.config import configure_logging as configure_logging
from songbook.logs.config import log_config as log_config
from songbook.logs.events import Event as Event
