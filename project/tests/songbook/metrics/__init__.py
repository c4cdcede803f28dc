"""The tests of songbook.metrics."""
