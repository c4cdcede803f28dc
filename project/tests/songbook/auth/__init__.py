"""Tests of songbook.auth."""
