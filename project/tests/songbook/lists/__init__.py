"""Tests of songbook.lists."""
