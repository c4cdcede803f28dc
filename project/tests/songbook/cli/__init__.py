"""Tests of songbook.cli."""
