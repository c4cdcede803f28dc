"""Tests of songbook.db.embedded."""
