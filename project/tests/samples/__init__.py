"""A service of the tests' own: what the tests of the library are run on, beside any service."""
