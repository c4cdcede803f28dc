"""Tests of songbook.crud."""
