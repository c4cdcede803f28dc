"""Tests of songbook.doctor."""
