"""Tests of songbook.openapi."""
