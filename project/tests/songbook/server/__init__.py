"""Tests of songbook.server."""
