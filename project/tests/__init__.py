"""The tests of the service, from which a developer's project/.env keeps away."""

import os

os.environ["ENV_FILE"] = os.devnull  # before anything reads the settings; processes inherit it
