"""A service whose workers die as soon as they are started."""

import os
import sys

if __name__ == "__mp_main__":  # what a worker calls the module that started it
    os._exit(7)

if __name__ == "__main__":
    from songbook.config import CommandError, Settings
    from songbook.server import serve

    settings = Settings.load()
    try:
        serve("tests.support.dying:app", settings, settings.port)
    except CommandError as error:
        sys.exit(f"dying: {error}")
