"""Tests of songbook.console."""
