"""Tests of songbook.http."""
