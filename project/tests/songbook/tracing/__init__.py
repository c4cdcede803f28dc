"""Tests of songbook.tracing."""
