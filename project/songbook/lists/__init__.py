"""A list: its parameters, its statement, its pages."""
