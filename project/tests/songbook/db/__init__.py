"""Tests of songbook.db."""
