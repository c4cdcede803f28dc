"""Tests of songbook.config."""
