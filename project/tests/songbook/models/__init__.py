"""Tests of songbook.models."""
