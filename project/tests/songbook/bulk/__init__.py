"""Tests of songbook.bulk."""
