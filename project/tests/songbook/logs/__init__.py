"""Tests of songbook.logs."""
