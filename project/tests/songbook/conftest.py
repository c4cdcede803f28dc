"""What the tests of the library are run on: the sample, on databases of its own."""

import pytest

from tests.support.fixtures import app, database_url, migrated_folder, template
from tests.support.services import SAMPLES, Tested

__all__ = ["app", "database_url", "migrated_folder", "template"]
"""Imported, so that pytest makes them once more in a run, for this folder."""


@pytest.fixture(scope="session")
def tested() -> Tested:
    """Give the service that is tested."""
    return SAMPLES
