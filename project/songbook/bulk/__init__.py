"""Many rows in one body, or in one response."""
