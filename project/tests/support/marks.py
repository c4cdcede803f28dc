"""Marks of tests that take long."""

import os

import pytest

slow = pytest.mark.skipif(
    os.environ.get("SLOW_TESTS") != "1", reason="is slow: ask with SLOW_TESTS=1"
)
"""Marks a test of a second or more that is for CI, so that a run on the way stays short."""
